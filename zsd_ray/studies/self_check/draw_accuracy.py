"""How often a single draw puts an image's true class first, by the noise level of the draw."""

from __future__ import annotations

import numpy as np

from zsd_ray.analysis.saved_run import SavedRun
from zsd_ray.analysis.saved_scores import read_scores
from zsd_ray.stats.intervals import wilson
from zsd_ray.studies.self_check.self_check_record import LevelAccuracy

N_LEVELS = 12


def draw_accuracy(
    run: SavedRun, snr_range: tuple[float, float] | None = None
) -> list[LevelAccuracy]:
    """By N_LEVELS equal steps of the logarithm of the ratio, the noisiest first.

    Args:
        snr_range: the ends of the levels; None: those of the run's draws.

    Raises:
        UserError: the run kept no raw scores.
    """
    scores = read_scores(run)
    rows = run.read("decisions", ["image_id", "label"]).to_pylist()
    label_of = {row["image_id"]: row["label"] for row in rows}
    with np.errstate(divide="ignore"):
        level = 2 * (np.log(scores.alpha) - np.log(scores.sigma))
    known = np.isfinite(level)
    low, high = (float(np.log(end)) for end in snr_range or (1, 1))
    if snr_range is None:
        low, high = float(level[known].min()), float(level[known].max())
    edges = np.linspace(low, high, N_LEVELS + 1)
    total, right = np.zeros(N_LEVELS, dtype=int), np.zeros(N_LEVELS, dtype=int)
    for number, image_id in enumerate(scores.image_ids):
        label, errors = label_of.get(image_id), scores.errors_of(number)
        if label is None or not np.isfinite(errors).all():
            continue
        own = level[scores.rows(number)]
        place = np.clip(np.searchsorted(edges, own, side="right") - 1, 0, N_LEVELS - 1)
        within = np.isfinite(own) & (own >= edges[0]) & (own <= edges[-1])
        first = errors[:, label] <= errors.min(axis=1)
        total += np.bincount(place[within], minlength=N_LEVELS)
        right += np.bincount(place[within & first], minlength=N_LEVELS)
    ratios = np.exp(edges).tolist()
    return [_level(ratios[i], ratios[i + 1], int(total[i]), int(right[i])) for i in range(N_LEVELS)]


def _level(low: float, high: float, n: int, right: int) -> LevelAccuracy:
    if not n:
        return LevelAccuracy(low, high, 0, None, None, None)
    return LevelAccuracy(low, high, n, right / n, *wilson(right, n))
