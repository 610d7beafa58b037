"""What a run's scores cost, as a plan has it."""

from __future__ import annotations

from zsd_ray.config.run import RunConfig
from zsd_ray.records.cost import Cost


def cost_of(config: RunConfig, n_classes: int) -> Cost:
    return config.method.cost(config.size(n_classes))


def evaluations_per_batch(config: RunConfig, rows: int, n_classes: int) -> int:
    return config.method.evaluations_per_batch(rows, config.size(n_classes))
