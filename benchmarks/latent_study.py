"""What a diffusion model knows while it learns: probes of every block and FID at every checkpoint.

    python benchmarks/latent_study.py [--images N] [--output FOLDER] [--figure FILE] [--json]
    python benchmarks/latent_study.py --quick

Trains configs/training/ddpm-digits.yaml, an unconditional DDPM, probes it as
configs/probes/digits-ddpm.yaml says, generates N images at each checkpoint (DDIM, 50 steps) and
measures FID and KID of these against the training digits, as the middle block of the built-in
model sees them. Everything goes to FOLDER on a Ray of this machine; what is there is not done
again. The figure has a probe's accuracy and FID over epochs, and the linear probe by block and
noise at the last checkpoint. --quick is a study of a hardly trained, smaller model on few digits,
in this process, and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import zsd_ray
from zsd_ray.config.data import DataConfig
from zsd_ray.config.run import load_config, parse_config
from zsd_ray.config.training import load_training
from zsd_ray.data.open import open_dataset
from zsd_ray.reports.figures import BLUE, MUTED, ORANGE, style
from zsd_ray.reports.lines import columns
from zsd_ray.reports.progress_bar import ProgressBar
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.generation.generate_config import GenerateConfig
from zsd_ray.studies.probes.probe_config import ProbeConfig
from zsd_ray.studies.probes.probing import probe

CONFIGS = Path(__file__).parent.parent / "configs"
POOLING = "mean"
OFF = "tracking.mlflow=off"
QUICK_TRAINING = [
    "epochs=1",
    "network.channels=[8, 8, 8]",
    "data.limit=64",
    "samples={images: 4, steps: 2}",
    "output.checkpoint_every=1",
]
QUICK_PROBES = [
    "data.train.limit=40",
    "data.test.limit=20",
    "timesteps=[0]",
    "pooling=[mean]",
    "probes.linear.l2=[1]",
    "probes.knn.k=3",
]


def trained(folder: Path, quick: bool) -> list[Path]:
    """The checkpoints of the training, in order of their epochs."""
    overrides = [f"output.path={folder / 'ddpm'}", OFF, *(QUICK_TRAINING if quick else [])]
    config = load_training(CONFIGS / "training" / "ddpm-digits.yaml", overrides)
    if not (folder / "ddpm" / "model" / "model_index.json").is_file():
        with ProgressBar(Console(stderr=True)) as bar:
            zsd_ray.train(
                config,
                local=True,
                on_progress=lambda steps, speed: bar.stage(
                    steps.stage, steps.done, steps.total, f"loss {steps.losses[-1]:.4f}"
                ),
            )
    return sorted((folder / "ddpm" / "checkpoints").iterdir())


def probed(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """The rows of probes.parquet."""
    overrides = [
        f"model.path={folder / 'ddpm' / 'model'}",
        f"checkpoints={folder / 'ddpm' / 'checkpoints'}",
        f"output.path={folder / 'probes'}",
        OFF,
        *(QUICK_PROBES if quick else []),
    ]
    config = load_config(ProbeConfig, CONFIGS / "probes" / "digits-ddpm.yaml", overrides)
    return probe(config, local=quick).rows


def distance(folder: Path, checkpoint: Path, n_images: int, quick: bool) -> dict[str, Any]:
    """FID and KID of the images that a checkpoint makes."""
    made = folder / "generated" / checkpoint.name
    shared = {"tracking": {"mlflow": "off"}}
    generate = {
        "model": {"family": "ddpm", "path": str(checkpoint)},
        "images": n_images,
        "output": {"path": str(made)},
        "sampler": {"steps": 2 if quick else 50},
        **shared,
    }
    zsd_ray.generate(parse_config(GenerateConfig, generate), local=quick)
    fid = {
        "real": {"source": "digits", "split": "train", "limit": 40 if quick else None},
        "generated": {"source": "parquet", "path": str(made / "images")},
        "extractor": {"kind": "denoiser", "block": "mid", "t": 0.1},
        "image_size": 16,
        "output": {"path": str(folder / "fid")},
        **shared,
    }
    entry = zsd_ray.fid(parse_config(FidConfig, fid), local=quick).entry
    return {"fid": entry.fid, "low": entry.fid_low, "high": entry.fid_high, "kid": entry.kid}


def pixels() -> float:
    """Accuracy of the same linear probe on the digits' own 64 pixels."""
    sets = {}
    images = load_digits().images.reshape(-1, 64)
    for split in ("train", "test"):
        records = open_dataset(DataConfig(split=split)).records
        numbers = [int(record.image_id.rsplit("/", 1)[-1]) for record in records]
        sets[split] = images[numbers], [record.label for record in records]
    scaler = StandardScaler().fit(sets["train"][0])
    fitted = LogisticRegression(C=0.1, max_iter=5000).fit(
        scaler.transform(sets["train"][0]), sets["train"][1]
    )
    return float(fitted.score(scaler.transform(sets["test"][0]), sets["test"][1]))


def by_epoch(rows: list[dict[str, Any]], kind: str, epoch: int) -> dict[str, Any]:
    """The best cell of a checkpoint without noise, by the held-out training images."""
    found = [r for r in rows if r["probe"] == kind and r["epoch"] == epoch and r["t"] == 0]
    return max(found, key=lambda row: row["validation"])


@style
def figure(rows: list[dict[str, Any]], measured: dict[int, dict[str, Any]]) -> Figure:
    """Accuracy over epochs, FID over epochs; block x noise at the last epoch."""
    epochs = sorted(measured)
    drawn = Figure(figsize=(8.6, 6.4))
    over = drawn.add_gridspec(2, 2, width_ratios=(1.15, 1))
    upper, lower = drawn.add_subplot(over[0, 0]), drawn.add_subplot(over[1, 0])
    for kind, colour in (("linear", BLUE), ("knn", ORANGE)):
        best = [by_epoch(rows, kind, epoch) for epoch in epochs]
        top = np.array([row["top1"] for row in best])
        reach = [top - [row["low"] for row in best], [row["high"] for row in best] - top]
        upper.errorbar(
            epochs, 100 * top, 100 * np.abs(reach), color=colour, marker="o", capsize=3, label=kind
        )
    upper.set(ylabel="accuracy of the best block (%)", title="Probes, clean input")
    upper.legend(loc="lower right")
    fid = np.array([measured[epoch]["fid"] for epoch in epochs])
    limits = np.array([[measured[epoch][end] for epoch in epochs] for end in ("low", "high")])
    lower.errorbar(epochs, fid, np.abs(limits - fid), color=MUTED, marker="o", capsize=3)
    lower.set(xlabel="epoch", ylabel="FID (own extractor)", title="Generated digits")
    lower.set_ylim(bottom=0)
    last = [
        r
        for r in rows
        if r["epoch"] == epochs[-1] and r["probe"] == "linear" and r["pooling"] == POOLING
    ]
    blocks = list(dict.fromkeys(row["block"] for row in last))
    times = sorted({row["t"] for row in last})
    table = {(row["block"], row["t"]): 100 * row["top1"] for row in last}
    grid = np.array([[table[block, t] for t in times] for block in blocks])
    heat = drawn.add_subplot(over[:, 1])
    heat.grid(visible=False)
    heat.imshow(grid, cmap="Blues", aspect="auto", vmin=0, vmax=115)
    heat.set_xticks(range(len(times)), [f"{t:g}" for t in times])
    heat.set_yticks(range(len(blocks)), blocks)
    for (y, x), value in np.ndenumerate(grid):
        heat.text(
            x, y, f"{value:.1f}", ha="center", va="center", color="white" if value > 80 else "black"
        )
    heat.set(
        xlabel="t of the input's noise", title=f"Linear probe (%), epoch {epochs[-1]}, {POOLING}"
    )
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=1297, help="generated at each checkpoint")
    parser.add_argument("--output", type=Path, default=Path("runs/latent-study"))
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--quick", action="store_true", help="few digits, a hardly trained model")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.quick:
            options.images, options.output = 20, Path(folder)
        study(options)


def study(options: argparse.Namespace) -> None:
    """Make or find everything, and print and draw it."""
    checkpoints = trained(options.output, options.quick)
    rows = probed(options.output, options.quick)
    measured = {}
    for checkpoint in checkpoints:
        epoch = int(checkpoint.name.rpartition("-")[2])
        measured[epoch] = distance(options.output, checkpoint, options.images, options.quick)
        print(f"{checkpoint.name}: FID {measured[epoch]['fid']:.3f}", file=sys.stderr)
    if options.figure is not None:
        figure(rows, measured).savefig(options.figure, dpi=140)
    found = []
    for epoch, of in measured.items():
        best = {kind: by_epoch(rows, kind, epoch) for kind in ("linear", "knn")}
        found.append({"epoch": epoch, **best, **of})
    if options.json:
        print(json.dumps({"checkpoints": found, "pixels": pixels()}, indent=2))
        return

    def cell(row: dict[str, Any]) -> str:
        interval = f"[{row['low']:.1%}, {row['high']:.1%}]"
        return f"{row['top1']:.1%} {interval} {row['block']} {row['pooling']}"

    lines = [("epoch", "linear, clean input", "knn, clean input", "FID", "KID")]
    for row in found:
        fid, kid = f"{row['fid']:.3f} [{row['low']:.3f}, {row['high']:.3f}]", f"{row['kid']:.5f}"
        lines.append((str(row["epoch"]), cell(row["linear"]), cell(row["knn"]), fid, kid))
    print(columns(lines))
    print(f"\na linear probe of the 64 pixels themselves: {pixels():.1%}")


if __name__ == "__main__":
    main()
