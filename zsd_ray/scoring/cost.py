"""What scores of a run cost, from its configuration."""

from __future__ import annotations

from zsd_ray.config.algorithms import AlgorithmMethod
from zsd_ray.config.run import RunConfig
from zsd_ray.scheduling.packer import ONE_EACH, Cost

UNMEASURED = 64
"""Rows of a forward where no GPU was tried: a processor's speed hardly depends on them."""


def cost_of(config: RunConfig, n_classes: int) -> Cost:
    """Of one model's scores. A classifier's templates are averaged before it sees an image."""
    method, n_templates = config.method, len(config.prompts.templates)
    if isinstance(method, AlgorithmMethod):
        per_score, per_draw = method.evaluations(race_size(config, n_classes))
        return Cost(per_score * n_templates, per_draw, method.whole, method.slack)
    if method.name == "classifier":
        return ONE_EACH
    return Cost(n_templates, int(method.null_prompt))


def race_size(config: RunConfig, n_classes: int) -> int:
    """How many of a run's classes an image goes on with, at most."""
    if config.screen is None or config.screen.run is None:
        return n_classes
    return min(n_classes, config.screen.top)


def evaluations_per_batch(config: RunConfig, n_rows: int, n_classes: int) -> int:
    """Those that fill a forward of n_rows rows; of an algorithm, with all that follow, and no less
    than one draw that must stay whole."""
    method, cost = config.method, cost_of(config, n_classes)
    if not isinstance(method, AlgorithmMethod):
        # A classifier's rows are images, each with all its classes.
        return n_rows * n_classes if method.name == "classifier" else n_rows
    whole = cost.of_draw(race_size(config, n_classes)) if cost.whole else 1
    return max(n_rows * method.in_sequence, whole)
