"""How methods of calibration do on a saved run, over many random halves of its images.

    python benchmarks/calibration.py RUN [--splits 50] [--json]
    python benchmarks/calibration.py --quick

One split, as `zsd-ray calibrate` has it, says little of a few hundred images. Here every method is
fitted on a random half of the labelled ones and tested on the other, again and again. Figures are
means over the splits; `nll`, `brier`: of the probabilities of all classes, `nll_right`: of the
prediction being right. better_than_temperature: the share of splits in which `nll_right` is less
than the temperature's on the same images. --quick without a RUN takes made-up scores.
"""

from __future__ import annotations

import argparse
import json
import tempfile

import numpy as np
from made_up_pool import write_pool
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from zsd_ray.analysis.saved_run import open_run
from zsd_ray.stats import reliability
from zsd_ray.studies.calibration.calibrating import Images
from zsd_ray.studies.calibration.gap_posterior import GapPosterior
from zsd_ray.studies.calibration.platt import Platt
from zsd_ray.studies.calibration.temperature import Temperature

METHODS = {"posterior": GapPosterior, "temperature": Temperature, "platt": None}


def one_split(
    images: Images, fit: NDArray[np.intp], test: NDArray[np.intp]
) -> dict[str, dict[str, float]]:
    """The figures of every method."""
    fitted, labels = images.evidence.select(fit), images.labels[fit]
    tested, correct = images.evidence.select(test), images.correct[test]
    rows = {}
    for name, method in METHODS.items():
        row = {}
        if method is None:
            platt = Platt.fit(fitted.n_evaluations, fitted.predictions == labels)
            odds = platt.log_odds(tested.n_evaluations)
        else:
            logs = method.fit(fitted, labels).log_probabilities(tested)
            odds = reliability.log_odds(logs, tested.predictions)
            row["nll"] = reliability.log_loss(logs, images.labels[test]).mean()
            row["brier"] = reliability.brier(logs, images.labels[test]).mean()
        confidence = expit(odds)
        numbers = reliability.equal_width(confidence)
        row["nll_right"] = -log_expit(np.where(correct, odds, -odds)).mean()
        row["confidence"] = confidence.mean()
        row["ece"] = reliability.calibration_error(confidence, correct, numbers)
        rows[name] = row
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", nargs="?", metavar="RUN", help="its output.path")
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="3 splits")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.run is None and not options.quick:
        parser.error("give a RUN, or --quick")
    with tempfile.TemporaryDirectory() as folder:
        images = Images.of(open_run(options.run or write_pool(folder)))
    labelled = np.flatnonzero(images.labels >= 0)
    rng = np.random.default_rng(0)
    splits = []
    for _ in range(3 if options.quick else options.splits):
        mixed = rng.permutation(labelled)
        splits.append(one_split(images, mixed[::2], mixed[1::2]))
    found = []
    for name in METHODS:
        rows = [split[name] for split in splits]
        means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        wins = [split[name]["nll_right"] < split["temperature"]["nll_right"] for split in splits]
        found.append({"method": name, **means, "better_than_temperature": float(np.mean(wins))})
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{len(labelled)} labelled images, accuracy {images.correct[labelled].mean():.1%}")
    for row in found:
        figures = (f"{key} {value:.3f}" for key, value in row.items() if key != "method")
        print(f"{row['method']:12} {'  '.join(figures)}")


if __name__ == "__main__":
    main()
