"""The default against the papers' settings, over small models of our own of every kind.

    python benchmarks/panel.py runs/panel --mnist DIR --cifar10 DIR [--json] [--figure FILE.svg]
    python benchmarks/panel.py --quick

Text-to-image models in latents and class-conditional ones in pixels, each trained with four
objectives (configs/panel/), meet digits like those of their training, digits with less contrast,
and MNIST; a model of CIFAR-10 its test photographs, one of two-object scenes a binding task; the
built-in model digits and MNIST. What FOLDER lacks is trained and run, and the rest is taken from
it, so an interrupted panel resumes; several at once share the work by `--cells`.

Each cell has a run of every class and every draw (t stratified in [0.02, 0.98]), from which the
weightings are scored, and whole runs under the default and the presets with draws of their own.
Differences of accuracy are paired, on the images that both decided, with a 95 % bootstrap interval.
DIR of MNIST holds t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz, DIR of CIFAR-10
train.parquet and test.parquet; without them their cells are left out. --quick takes the built-in
model and a few digits.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import mnist_parquet
from matplotlib.figure import Figure
from numpy.typing import NDArray

import zsd_ray
from zsd_ray.analysis.reweight import reweighted
from zsd_ray.analysis.saved_run import SavedRun, open_run
from zsd_ray.analysis.saved_scores import read_scores
from zsd_ray.api import train
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.config.training import load_training
from zsd_ray.reports.figures import log_axis, style
from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.paired import Discordance, bootstrap

CONFIGS = Path(__file__).parent.parent / "configs"
OBJECTIVES = ("epsilon", "v", "sample", "flow")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

ALL_TIMES = {"t_range": [0.02, 0.98]}
FULL: Mapping[str, Mapping[str, Any]] = {
    "split, default range": {},
    "simple, default range": {"weighting": "simple"},
    "simple, SNR 0.01 to 20": {"weighting": "simple", "snr_range": [0.01, 20]},
    "split, all t": {"weighting": "split", **ALL_TIMES},
    "simple, all t": {"weighting": "simple", **ALL_TIMES},
    "heuristic, all t": {"weighting": "heuristic", **ALL_TIMES},
    "velocity, all t": {"weighting": "velocity", **ALL_TIMES},
    "x-error, all t": {"weighting": "x-error", **ALL_TIMES},
    "vdm, all t": {"weighting": "vdm", **ALL_TIMES},
}
"""Method sections whose scores at every draw are compared."""

NAIVE = {
    "method": {
        "weighting": "velocity",
        "loss": "l1",
        "timesteps": "uniform",
        "t_range": [0.001, 0.999],
    },
    "pruning": {"rule": "li", "keep": [5, 1], "draws": [10, 100]},
}
"""How flow models were first tried with the published code (diffusion-classifier, issue 32)."""

RUNS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "clark-jaini": {"preset": "clark-jaini"},
    "li": {"preset": "li-cifar10"},
    "naive flow": NAIVE,
}
COSTLY = ("li", "naive flow")
"""Runs of a fixed cost, which only some cells have."""


@dataclass(frozen=True)
class Cell:
    """A model on some images. trained: its configuration and what is set in it; None: built in."""

    model: str
    images: str
    sections: Mapping[str, Any]
    trained: tuple[str, tuple[str, ...]] | None = None
    runs: tuple[str, ...] = ("default", "clark-jaini")

    @property
    def name(self) -> str:
        return f"{self.model} on {self.images}"


@dataclass(frozen=True)
class Sources:
    """Where the images lie."""

    folder: Path
    mnist: Path | None
    cifar10: Path | None

    def sections(self) -> dict[str, Any]:
        """The data section of each set of images that is there."""
        held_out = {"source": "digits", "split": "test"}
        found: dict[str, Any] = {
            "digits": held_out,
            "digits, contrast 3": held_out | {"corruption": {"kind": "contrast", "strength": 3}},
            "two-object scenes": {"source": "two-objects", "task": "color|shape"},
        }
        if self.mnist is not None:
            path = self.folder / "mnist.parquet"
            if not path.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                mnist_parquet(self.mnist, path)
            found["MNIST"] = {"source": "parquet", "path": str(path)}
        if self.cifar10 is not None:
            found["CIFAR-10"] = {"source": "parquet", "path": str(self.cifar10 / "test.parquet")}
        return found


def cells(sources: Sources) -> Iterator[Cell]:
    """All that the sources allow."""
    data = sources.sections()
    text = {"classes": list(DIGITS), "templates": ["a photo of the digit {}."]}
    for images in ("digits", "MNIST"):
        sections = {"data": data.get(images), "prompts": text}
        yield Cell("built-in", images, sections, runs=("default", "clark-jaini", "li"))
    labels = {"classes": [str(k) for k in range(10)], "templates": ["{}"]}
    for kind, prompts, family in (
        ("latent", text, "stable-diffusion"),
        ("pixel", labels, "ddpm"),
    ):
        for objective in OBJECTIVES:
            trained: tuple[str, tuple[str, ...]] = (
                f"panel/{kind}.yaml",
                (f"objective={objective}",),
            )
            for images in ("digits", "digits, contrast 3", "MNIST"):
                runs: tuple[str, ...] = ("default", "clark-jaini")
                if kind == "latent" and images == "MNIST" and objective in ("epsilon", "flow"):
                    runs = (*runs, "li")
                if objective == "flow" and images in ("digits", "MNIST"):
                    runs = (*runs, "naive flow")
                sections = {
                    "data": data.get(images),
                    "prompts": prompts,
                    "model": {"family": family},
                }
                yield Cell(f"{kind}, {objective}", images, sections, trained, runs)
    photographs = {"classes": list(CIFAR10), "templates": ["a photo of a {}."]}
    small = ("vae.steps=300", "ema_decay=0.995", "samples.images=0")
    path = f"data.path={sources.cifar10}/train.parquet"
    steps = ("denoiser.steps=900", "denoiser.batch_size=64")
    trained = ("training/text-to-image-cifar10.yaml", (*small, *steps, path))
    sections = {"data": data.get("CIFAR-10"), "prompts": photographs}
    yield Cell("latent of CIFAR-10, epsilon", "CIFAR-10", sections, trained)
    trained = ("training/text-to-image-two-objects.yaml", (*small, "denoiser.steps=1000"))
    sections = {"data": data["two-object scenes"]}
    yield Cell("latent of scenes, epsilon", "two-object scenes", sections, trained)


@dataclass(frozen=True)
class Panel:
    """folder: of models and runs. images: of a cell, and of a costly run of it."""

    folder: Path
    images: int
    costly_images: int
    draws: int
    local: bool = True
    quick: Mapping[str, Any] = field(default_factory=dict)

    def measure(self, cell: Cell) -> list[dict[str, Any]]:
        """The rows of one cell; what is lacking is trained and run."""
        model = {**cell.sections.get("model", {}), "path": self._model(cell)}
        full = {"weighting": "simple", "timesteps": "stratified", **ALL_TIMES}
        pruning = {"rule": "none", "draws": self.draws}
        pool = self._run(cell, model, "every draw", {"method": full, "pruning": pruning}, True)
        found = [self._row(cell, f"{name}, every draw", *self._full(pool, FULL[name]))
                 for name in FULL]  # fmt: skip
        for name in cell.runs:
            run = self._run(cell, model, name, dict(RUNS[name]), False)
            rows = run.read("decisions", ["image_id", "correct", "n_evaluations"]).to_pylist()
            right = {row["image_id"]: row["correct"] for row in rows}
            each = float(np.mean([row["n_evaluations"] for row in rows]))
            found.append(self._row(cell, name, right, each))
        return _compared(found)

    def _model(self, cell: Cell) -> str:
        if cell.trained is None:
            return "builtin:digits"
        file, settings = cell.trained
        place = self.folder / "models" / _slug(cell.model)
        if not (place / "model" / "model_index.json").exists():
            set_ = [*settings, f"output.path={place}", "tracking.mlflow=off"]
            train(load_training(CONFIGS / file, set_), local=True)
        return str(place / "model")

    def _run(
        self, cell: Cell, model: Mapping[str, Any], name: str, sections: dict[str, Any], raw: bool
    ) -> SavedRun:
        n = self.costly_images if name in COSTLY else self.images
        place = str(self.folder / "runs" / _slug(cell.name) / _slug(name))
        data = {**cell.sections["data"], "limit": n}
        tree = {
            **cell.sections, **sections, "model": model, "data": data,
            "output": {"path": place, "raw_scores": raw}, "tracking": {"mlflow": "off"},
            "cluster": {"batch_size": 100},
        }  # fmt: skip
        zsd_ray.run(parse_config(RunConfig, tree), local=self.local)
        return open_run(place)

    def _full(
        self, pool: SavedRun, section: Mapping[str, Any]
    ) -> tuple[dict[str, bool | None], float]:
        """Whether each image is right by its mean score over all draws of a range."""
        method = parse_config(RunConfig, {"method": dict(section)}).draw_method
        scores = read_scores(pool)
        weight = reweighted(scores, pool.config.draw_method, method)
        snr = (scores.alpha / scores.sigma) ** 2
        within = np.ones(len(snr), dtype=bool)
        if method.snr_range is not None:
            within = (snr >= method.snr_range[0]) & (snr <= method.snr_range[1])
        rows = pool.read("decisions", ["image_id", "label"]).to_pylist()
        labels = {row["image_id"]: row["label"] for row in rows}
        right: dict[str, bool | None] = {}
        cost = []
        for number, image_id in enumerate(scores.image_ids):
            part = scores.rows(number)
            errors = scores.errors_of(number)[within[part]]
            mean = (weight[part][within[part], None] * errors).mean(axis=0)
            right[image_id] = bool(np.nanargmin(mean) == labels[image_id])
            cost.append(np.isfinite(errors).sum())
        return right, float(np.mean(cost))

    def _row(
        self, cell: Cell, setting: str, right: Mapping[str, bool | None], each: float
    ) -> dict[str, Any]:
        n_right = sum(bool(value) for value in right.values())
        return {
            "cell": cell.name,
            "setting": setting,
            "images": len(right),
            "accuracy": n_right / len(right),
            "interval": list(wilson(n_right, len(right))),
            "evaluations_per_image": round(each, 1),
            "_right": right,
        }


def _compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With each row's difference to the best full-score setting, and to clark-jaini."""
    full = [row for row in rows if row["setting"].endswith("every draw")]
    best = max(full, key=lambda row: row["accuracy"])
    paper = next((row for row in rows if row["setting"] == "clark-jaini"), None)
    for row in rows:
        row["best"] = best["setting"]
        row["difference_to_best"], row["difference_to_best_interval"] = _difference(best, row)
        if paper is not None:
            found = _difference(paper, row)
            row["difference_to_clark_jaini"], row["difference_to_clark_jaini_interval"] = found
            row["share_of_clark_jaini"] = (
                row["evaluations_per_image"] / paper["evaluations_per_image"]
            )
    for row in rows:
        del row["_right"]
    return rows


def _difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[float, list[float]]:
    """Accuracy of the second less the first's, on the images of both, with its interval."""
    ids = sorted(first["_right"].keys() & second["_right"].keys())
    of: list[NDArray[np.bool_]] = [
        np.array([bool(row["_right"][i]) for i in ids]) for row in (first, second)
    ]
    pair = Discordance.of(*of)
    return pair.difference, list(bootstrap(pair))


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The default over all cells: regret, share of the paper's evaluations."""
    of_default = [row for row in rows if row["setting"] == "default"]
    regret = np.array([-100 * row["difference_to_best"] for row in of_default])
    share = np.array([row["share_of_clark_jaini"] for row in of_default])
    to_paper = np.array([100 * row["difference_to_clark_jaini"] for row in of_default])
    below = [row["cell"] for row in of_default if row["difference_to_clark_jaini_interval"][1] < 0]
    return {
        "cells": len(of_default),
        "points_below_best_mean": round(float(regret.mean()), 2),
        "points_below_best_worst": round(float(regret.max()), 2),
        "points_above_clark_jaini_mean": round(float(to_paper.mean()), 2),
        "cells_significantly_below_clark_jaini": below,
        "share_of_clark_jaini_geometric_mean": round(float(np.exp(np.log(share).mean())), 3),
        "share_of_clark_jaini_most": round(float(share.max()), 3),
        "full_scores_points_below_best_mean": {
            name: round(
                float(
                    np.mean(
                        [
                            -100 * row["difference_to_best"]
                            for row in rows
                            if row["setting"] == f"{name}, every draw"
                        ]
                    )
                ),
                2,
            )
            for name in FULL
        },
    }


COLOURS = {"default": "#d55e00", "clark-jaini": "#0072b2", "li": "#009e73", "naive flow": "#cc79a7"}


@style
def figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy against evaluations, a panel a cell; grey: the weightings at every draw."""
    names = list(dict.fromkeys(row["cell"] for row in rows))
    across = min(5, len(names))
    down = -(-len(names) // across)
    drawn = Figure(figsize=(3.1 * across, 2.5 * down + 0.5))
    grid = drawn.subplots(down, across, squeeze=False, sharex=True)
    for axes, name in zip(grid.ravel(), names, strict=False):
        mine = [row for row in rows if row["cell"] == name]
        full = [row for row in mine if row["setting"] not in COLOURS]
        axes.scatter(
            [row["evaluations_per_image"] for row in full],
            [row["accuracy"] for row in full],
            s=22,
            facecolors="none",
            edgecolors="#5f6b7a",
        )
        for row in mine:
            colour = COLOURS.get(row["setting"])
            if colour is None:
                continue
            low, high = row["interval"]
            y = row["accuracy"]
            axes.errorbar(
                [row["evaluations_per_image"]],
                [y],
                yerr=[[y - low], [high - y]],
                fmt="o",
                color=colour,
                markersize=5,
            )
        log_axis(axes, "x")
        axes.set_title(name, fontsize=8.5)
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.tick_params(labelsize=8)
    for axes in grid.ravel()[len(names) :]:
        axes.set_visible(False)
    for setting, colour in COLOURS.items():
        grid[0, 0].plot([], [], "o", color=colour, label=setting)
    grid[0, 0].scatter([], [], facecolors="none", edgecolors="#5f6b7a", label="every draw")
    drawn.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    drawn.supxlabel("evaluations per image", fontsize=10)
    return drawn


def lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table: the runs of each cell, and its best weighting at every draw."""
    yield (
        f"{'cell':44}{'setting':36}{'images':>7}{'accuracy':>10}{'95 % interval':>17}"
        f"{'evaluations':>13}{'share':>7}{'to the best':>13}{'interval':>16}"
    )
    for row in rows:
        if row["setting"] not in RUNS and row["setting"] != row["best"]:
            continue
        low, high = row["interval"]
        d_low, d_high = row["difference_to_best_interval"]
        yield (
            f"{row['cell']:44}{row['setting']:36}{row['images']:>7}{row['accuracy']:>10.1%}"
            f"{f'[{low:.0%}, {high:.0%}]':>17}{row['evaluations_per_image']:>13,.1f}"
            f"{row['share_of_clark_jaini']:>7.2f}{100 * row['difference_to_best']:>+13.1f}"
            f"{f'[{100 * d_low:+.0f}, {100 * d_high:+.0f}]':>16}"
        )
    for key, value in summary(rows).items():
        yield f"{key}: {value}"


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name).strip("-").replace("--", "-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER")
    parser.add_argument("--mnist", type=Path, metavar="DIR")
    parser.add_argument("--cifar10", type=Path, metavar="DIR")
    parser.add_argument("--images", type=int, default=100, help="of a cell (default: 100)")
    parser.add_argument(
        "--costly-images", type=int, default=30, help="of runs of a fixed cost (default: 30)"
    )
    parser.add_argument("--draws", type=int, default=60, help="of every class (default: 60)")
    parser.add_argument("--cells", nargs="+", metavar="WORD", help="those that hold one of these")
    parser.add_argument("--json", action="store_true", help="rows and summary")
    parser.add_argument("--figure", metavar="FILE", help="where to draw them (.svg, .png)")
    parser.add_argument("--quick", action="store_true", help="the built-in model and a few digits")
    options = parser.parse_args()
    if options.folder is None and not options.quick:
        parser.error("give a FOLDER, or --quick")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        sources = Sources(folder, options.mnist, options.cifar10)
        panel = Panel(folder, options.images, options.costly_images, options.draws)
        if options.quick:
            panel = Panel(folder, images=2, costly_images=1, draws=10)
        rows = []
        for cell in cells(sources):
            wanted = options.cells or ([cell.name] if not options.quick else ["built-in on digits"])
            if cell.sections["data"] is None or not any(word in cell.name for word in wanted):
                continue
            print(cell.name, file=sys.stderr, flush=True)
            rows += panel.measure(cell)
        if options.figure:
            Path(options.figure).parent.mkdir(parents=True, exist_ok=True)
            figure(rows).savefig(options.figure, dpi=150)
        found = {"rows": rows, "summary": summary(rows)}
        print(json.dumps(found) if options.json else "\n".join(lines(rows)))


if __name__ == "__main__":
    main()
