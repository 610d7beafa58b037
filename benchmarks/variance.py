"""How much the placing of draws saves, from runs of the same images that kept every draw.

    python benchmarks/variance.py RUN RUN ... [--draws 4,8,20] [--json]
    python benchmarks/variance.py --quick

Each RUN is an output with raw scores, `pruning: {rule: none}` and labels
(docs/measurements/statistics.md has the commands). Of each image, the first n of every 20 draws
give one mean score; over these means:

variance ratio: of the difference between a class and the true one, over that of the first RUN,
    summed over classes and images. Where the weighting is another, scores are of another kind and
    there is none.
signal to noise: of one draw, mean / (standard deviation x sqrt(n)) of that difference, whatever the
    weighting; the mean over classes, and of each image's least. Draws that a decision takes go with
    one over its square.

Intervals are the 95 % of 2,000 bootstraps of the images. --quick compares made-up scores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass

import numpy as np
from made_up_pool import write_pool
from numpy.typing import NDArray

from zsd_ray.analysis.saved_run import open_run
from zsd_ray.analysis.saved_scores import read_scores
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.records.errors import UserError

Array = NDArray[np.float64]
PERIOD = 20  # blocks of every rule begin with its multiples
BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Row:
    """What one run shows at n draws."""

    run: str
    weighting: str
    timesteps: str
    draws: int
    variance_ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    signal_to_noise: float
    least_signal_to_noise: float


@dataclass(frozen=True)
class Differences:
    """Of N images: their ids, and (N, D, K - 1) scores of classes less the true one's."""

    name: str
    method: DiffusionClassifierMethod
    image_ids: list[str]
    values: Array

    def of_means(self, n_draws: int) -> tuple[Array, Array]:
        """Mean and variance over blocks of the mean of their first draws, (N, K - 1) each."""
        images, draws, others = self.values.shape
        blocks = self.values[:, : draws // PERIOD * PERIOD].reshape(images, -1, PERIOD, others)
        means = blocks[:, :, :n_draws].mean(axis=2)
        return means.mean(axis=1), means.var(axis=1, ddof=1)


def read(path: str) -> Differences:
    """The paired differences of a run."""
    run = open_run(path)
    method = run.config.method
    if not isinstance(method, DiffusionClassifierMethod):
        raise UserError(f"{run.name} is of another method; give runs of diffusion-classifier")
    scores = read_scores(run)
    rows = run.read("decisions")
    labels = dict(zip(rows["image_id"].to_pylist(), rows["label"].to_pylist(), strict=True))
    numbers = {image_id: i for i, image_id in enumerate(scores.image_ids)}
    values = []
    for image_id in sorted(numbers):
        errors = scores.errors_of(numbers[image_id]).astype(np.float64)
        weighted = scores.weight[scores.rows(numbers[image_id])][:, None] * errors
        true = labels[image_id]
        values.append(np.delete(weighted, true, axis=1) - weighted[:, [true]])
    return Differences(run.name, method, sorted(numbers), np.stack(values))


def compare(first: Differences, run: Differences, n_draws: int) -> Row:
    """What `run` shows beside the first one."""
    assert run.image_ids == first.image_ids, f"{run.name} is of other images than {first.name}"
    mean, variance = run.of_means(n_draws)
    ratio = low = high = None
    if scored_alike(first.method, run.method):
        ours, theirs = variance.sum(axis=1), first.of_means(n_draws)[1].sum(axis=1)
        ratio = float(ours.sum() / theirs.sum())
        chosen = np.random.default_rng(0).integers(len(ours), size=(BOOTSTRAPS, len(ours)))
        ratios = ours[chosen].sum(axis=1) / theirs[chosen].sum(axis=1)
        low, high = (float(np.quantile(ratios, q)) for q in (0.025, 0.975))
    signal = mean / np.sqrt(variance * n_draws)
    return Row(
        run=run.name,
        weighting=run.method.weighting,
        timesteps=run.method.timesteps,
        draws=n_draws,
        variance_ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        signal_to_noise=float(signal.mean()),
        least_signal_to_noise=float(signal.min(axis=1).mean()),
    )


def scored_alike(one: DiffusionClassifierMethod, other: DiffusionClassifierMethod) -> bool:
    """Whether means of both estimate the same quantity."""
    if any(getattr(one, key) != getattr(other, key) for key in ("weighting", "loss", "t_range")):
        return False
    if one.weighting not in ("standardised", "learned"):
        return True
    assert one.fitted is not None
    assert other.fitted is not None
    here = {"edges", "sd", "weights"}
    return one.fitted.model_dump(include=here) == other.fitted.model_dump(include=here)


def made_up_runs() -> list[Differences]:
    """The same scores twice, as if of two placings of the draws."""
    with tempfile.TemporaryDirectory() as folder:
        placings = ("uniform", "stratified")
        return [read(write_pool(f"{folder}/{name}", timesteps=name)) for name in placings]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--draws", default="4,8,20", help="at most 20 each (default: 4,8,20)")
    parser.add_argument("--quick", action="store_true", help="two small runs of made-up scores")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.runs and not options.quick:
        parser.error("give RUNs, or --quick")
    runs = [read(path) for path in options.runs] or made_up_runs()
    draws = [int(n) for n in options.draws.split(",")]
    rows = [compare(runs[0], run, n) for run in runs for n in draws]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print(f"{'weighting':13}{'timesteps':25}{'draws':>5}  {'variance ratio':20}signal to noise")
    for row in rows:
        ratio = ""
        if row.variance_ratio is not None:
            ratio = f"{row.variance_ratio:.2f} [{row.ratio_low:.2f}, {row.ratio_high:.2f}]"
        signal = f"{row.signal_to_noise:.2f}, least {row.least_signal_to_noise:.2f}"
        print(f"{row.weighting:13}{row.timesteps:25}{row.draws:5}  {ratio:20}{signal}")


if __name__ == "__main__":
    main()
