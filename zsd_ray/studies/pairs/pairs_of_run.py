"""Winoground's scores of a run: two images and two captions per example, from the decisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsd_ray.analysis.saved_run import open_run
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.run import RunConfig
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store
from zsd_ray.studies.pairs.pair_scores import PairScores, pair_scores


@dataclass(frozen=True)
class Pairs:
    """The results of `zsd-ray pairs`.

    n_left_out: examples that have not all four scores: an image has an error or is not of the run.
    doubt: why errors of different images cannot be compared in this run; None where they can.
    """

    run: str
    n_left_out: int
    scores: PairScores
    doubt: str | None


def pairs(path: str, store: Store | None = None) -> Pairs:
    """Score the run whose output is at `path`, on the examples that it has decided by now.

    Args:
        store: how it is reached; None: by a plain `Store()`.

    Raises:
        UserError: no run, a run of other data, or no example with all four scores.
    """
    run = open_run(path, store)
    if run.config.data.source != "winoground":
        raise UserError(
            f"{run.name} is a run of data.source {run.config.data.source}; pairs asks runs of "
            "winoground, which have two images and two captions an example"
        )
    rows = run.read("decisions", ["image_id", "label", "mean_scores"]).to_pylist()
    images: dict[str, dict[str, tuple[int, list[float]]]] = {}
    for row in rows:
        example, _, place = row["image_id"].rpartition("/")
        images.setdefault(example, {})[place] = (row["label"], row["mean_scores"] or [])
    found = [_errors(each) for each in images.values()]
    whole = [errors for errors in found if errors is not None]
    if not whole:
        raise UserError(
            f"{run.name} has no example of which both images have scores of both captions; run it "
            "over whole examples, without data.limit"
        )
    return Pairs(run.name, len(found) - len(whole), pair_scores(whole), _doubt(run.config))


def _errors(images: dict[str, tuple[int, list[float]]]) -> NDArray[np.float64] | None:
    """The 2 x 2 mean scores of an example by (image, caption); None where one is missing.

    An image's label is the class of its own caption, so the two labels name the two columns.
    """
    if not {"0", "1"} <= images.keys():
        return None
    own = [images[place][0] for place in ("0", "1")]
    scores = [images[place][1] for place in ("0", "1")]
    if not all(len(means) > max(own) for means in scores):
        return None  # an error has no scores
    errors = np.array([[means[caption] for caption in own] for means in scores])
    return errors if np.isfinite(errors).all() else None


def _doubt(config: RunConfig) -> str | None:
    """Return a caveat: a picture that is hard to denoise has high errors for every prompt, and a
    class that is eliminated early has a mean over other draws than one that stays."""
    method = config.method
    if config.model.family == "clip":
        return None  # cosines
    if not isinstance(method, DiffusionClassifierMethod) or not method.weighted:
        return f"scores of method.name {method.name} are of one image each"
    wanted = [
        *(["method.normaliser: null-prompt"] if not method.null_prompt else []),
        *(["pruning: {rule: none, draws: N}"] if config.pruning.rule != "none" else []),
    ]
    return f"it needs {' and '.join(wanted)}" if wanted else None
