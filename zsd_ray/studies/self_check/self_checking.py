"""`zsd-ray self-check`: does a model classify the images that it makes itself?

On those there is no gap between training and test images. If it is right on them and wrong on the
user's, the cause is the images; if it is wrong on its own, its prompts or its training (Self-Bench:
Jeong et al. 2025, arXiv 2505.17955).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from zsd_ray.analysis.comparison import Figures
from zsd_ray.analysis.saved_run import open_run
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.data import DataConfig
from zsd_ray.config.run import RunConfig
from zsd_ray.evaluation.evaluate import run
from zsd_ray.evaluation.session import OnProgress, RunResult
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.records.errors import UserError
from zsd_ray.results.job import OnWarning, planning
from zsd_ray.results.output import Output
from zsd_ray.results.progress import Progress
from zsd_ray.rules.every_draw import NoPruning
from zsd_ray.storage.store import Store
from zsd_ray.studies.self_check.draw_accuracy import draw_accuracy
from zsd_ray.studies.self_check.self_check_record import SelfCheck

MakeImages = Callable[[RunConfig, Sequence[str], int, str], int]
"""Makes so many images of each of these classes by the model of a planned run, as Parquet below a
path; returns the evaluations that it took."""

_GRID = "grid.png"


def self_check(
    config: RunConfig,
    images_per_class: int = 5,
    draws: int = 40,
    *,
    make_images: MakeImages,
    local: bool = False,
    on_progress: OnProgress | None = None,
    on_warning: OnWarning = print,
) -> SelfCheck:
    """Make images of each class of a run with its model, classify them, and as many of its data.

    Every class has every draw, under the run's weighting and noise levels. All of it lies in
    OUTPUT/self-check, and an interrupted check resumes.

    Args:
        local, on_warning: as for `run`; on_progress: of the two runs.

    Raises:
        UserError: bad input, or a model that makes no images.
        RunBrokenError, StoreError: it cannot continue; the same call resumes it later.
    """
    if images_per_class < 1 or draws < 1:
        raise UserError(
            f"--images-per-class and --draws take 1 or more, but came {images_per_class} and "
            f"{draws}"
        )
    method = config.method
    if not isinstance(method, DiffusionClassifierMethod) or not method.weighted:
        raise UserError(
            f"self-check is for method.name diffusion-classifier, and the run has {method.name}"
        )
    with planning(config) as store:
        plan = make_plan(config, store=store)
    if plan.race.candidates is not None and plan.tree is None and config.screen is None:
        raise UserError(
            "self-check makes images of classes, and each image of the data has captions of its own"
        )
    place = f"{config.output.path.rstrip('/')}/self-check"
    classes, n_images = plan.classes.names, images_per_class * len(plan.classes.names)
    n_made = make_images(plan.config, classes, images_per_class, f"{place}/generated")
    generated = DataConfig(source="parquet", path=f"{place}/generated/images")

    def classify(name: str, **sections: Any) -> RunResult:
        part = config.model_copy(
            update={
                "method": method.model_copy(
                    update={
                        "timesteps": "stratified",
                        "class_offset": None,
                        "grid_points": None,
                        "grid_stages": None,
                    }
                ),
                "pruning": NoPruning(rule="none", draws=draws),
                "screen": None,
                "output": config.output.model_copy(
                    update={"path": f"{place}/{name}", "raw_scores": True}
                ),
                "tracking": config.tracking.model_copy(update={"mlflow": "off"}),
                **sections,
            }
        )

        def named(progress: Progress) -> None:
            if on_progress is not None:
                on_progress(replace(progress, stage=name))

        return run(part, local=local, on_progress=named, on_warning=on_warning)

    own = classify(
        "own-images",
        data=generated,
        prompts=config.prompts.model_copy(update={"classes": list(classes)}),
    )
    limit = min(n_images, config.data.limit or n_images)
    data = classify("data", data=config.data.model_copy(update={"limit": limit}))
    saved = [open_run(f"{place}/{name}", store) for name in ("own-images", "data")]
    own_levels = draw_accuracy(saved[0])
    ends = own_levels[0].snr_low, own_levels[-1].snr_high
    found = SelfCheck(
        page=Output(place, store).shown("self-check.html"),
        images_per_class=images_per_class,
        draws=draws,
        n_classes=len(classes),
        own=Figures.of(own.metrics),
        data=Figures.of(data.metrics),
        own_levels=tuple(own_levels),
        data_levels=tuple(draw_accuracy(saved[1], ends)),
        evaluations=n_made + own.metrics["n_spent"] + data.metrics["n_spent"],
    )
    _write_page(found, config, place, store)
    return found


def _write_page(found: SelfCheck, config: RunConfig, place: str, store: Store) -> None:
    from zsd_ray.studies.self_check.self_check_page import render_self_check

    grid = Output(f"{place}/generated", store).read_bytes(_GRID)
    page = render_self_check(found, config.model.path, config.data.path or config.data.source, grid)
    Output(place, store).write_bytes("self-check.html", page.encode())
