"""`zsd-ray check-model`: is a model's fast path right on this machine?"""

from __future__ import annotations

from collections.abc import Callable

from zsd_ray.config.run import RunConfig
from zsd_ray.data.dataset import choose_subset
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.records.errors import UserError
from zsd_ray.results.job import PLAN_SECONDS
from zsd_ray.scoring.model_check import ModelCheck, check_numbers, refuse_difference
from zsd_ray.storage.store import Store


def check_model(
    config: RunConfig, n_images: int, on_pass: Callable[[int, int], None] = lambda done, all: None
) -> ModelCheck:
    """Compare a model's fast path with plain float32, in this process, on some images.

    Args:
        on_pass: called with the number of finished passes, and of all passes, over an image.

    Raises:
        UserError: bad input, a model without a fast path, or more than model.max_difference.
    """
    if n_images < 1:
        raise UserError(f"--images must be at least 1, but came {n_images}")
    store = Store(config.storage, PLAN_SECONDS)
    plan = make_plan(config, store=store)
    images = choose_subset(plan.dataset.records, n_images)
    found = check_numbers(
        plan.config,
        plan.model,
        plan.dataset,
        plan.prompts,
        list(images),
        lambda done: on_pass(done, 2 * len(images)),
    )
    refuse_difference(plan.config, found)
    return found
