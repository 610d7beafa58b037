"""Probes of a model's blocks: lines for the terminal, and a page with heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from zsd_ray.reports.figures import INK, MUTED, ORANGE, style
from zsd_ray.reports.lines import columns, percent, with_interval
from zsd_ray.reports.page import inline, render
from zsd_ray.studies.probes.probe_record import ProbeRecord
from zsd_ray.studies.probes.probe_rows import Row, best_of

_SHOWN = 5
_KINDS = {"linear": "Linear probe", "knn": "Nearest neighbours"}
_HEAT = "viridis"


def header(record: ProbeRecord) -> tuple[str, ...]:
    top = f"top {record.config['top_k']}"
    return ("probe", "checkpoint", "t", "block", "pooling", "setting", "held out", "test", top)


def best_rows(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The best cells of each kind of probe, by the held-out images."""
    best = [row for kind in _KINDS for row in best_of(list(rows), kind)[:_SHOWN]]
    return [
        (
            row["probe"],
            row["checkpoint"],
            f"{row['t']:g}",
            row["block"],
            row["pooling"],
            row["setting"],
            percent(row["validation"]),
            with_interval(row["top1"], row["low"], row["high"]),
            percent(row["top_k"]),
        )
        for row in best
    ]


def probe_lines(record: ProbeRecord, rows: Sequence[Row]) -> str:
    """Return the best cells, and the number of cells."""
    table = columns([header(record), *best_rows(rows)])
    return f"{table}\n\nthe best of {record.n_cells} cells by the held-out training images"


def render_probes(record: ProbeRecord, rows: Sequence[Row]) -> str:
    """Render the page."""
    figures = []
    for kind, best in record.best.items():
        mine = [
            row
            for row in rows
            if row["probe"] == kind
            and row["pooling"] == best["pooling"]
            and (kind == "linear" or row["setting"] == best["setting"])
        ]
        for name, along, fixed in (
            ("epoch", "checkpoint", "t"),
            ("noise", "t", "checkpoint"),
        ):
            shown = [row for row in mine if row[fixed] == best[fixed]]
            if len({row[along] for row in shown}) < 2 and along == "checkpoint":
                continue
            title = f"{_KINDS[kind]}: block by {name}"
            caption = (
                f"Accuracy on the test images in percent; pooling {best['pooling']}, "
                f"{fixed} {best[fixed]}. The frame marks the cell that the held-out training "
                f"images choose: {best['block']}, "
                f"{with_interval(best['top1'], best['low'], best['high'])}."
            )
            figure = inline(heat_map(shown, along, best), f"{kind}-{name}", f"{title}. {caption}")
            figures.append({"title": title, "svg": figure, "caption": caption})
    config = record.config
    settings = [
        ("model", f"{config['model']['family']}, {config['model']['path']}"),
        ("checkpoints", str(len(record.checkpoints))),
        ("cells", str(record.n_cells)),
        ("images", f"{rows[0]['n_train']:,} to fit, {rows[0]['n_test']:,} to test"),
        ("left out", f"{len(record.errors)} images"),
        ("seed", str(config["seed"])),
    ]
    return render(
        "studies/probes/probes.html",
        title=f"Probes of {config['model']['path']}",
        settings=settings,
        figures=figures,
        header=header(record),
        rows=best_rows(rows),
    )


@style
def heat_map(rows: Sequence[Row], along: str, best: Row) -> Figure:
    """Plot the accuracy of one row per (block, `along`): blocks downwards, `along` across; best is
    framed."""
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    values: list[Any] = list(dict.fromkeys(row[along] for row in rows))
    if along == "t":
        values.sort()
    table = np.full((len(blocks), len(values)), np.nan)
    for row in rows:
        table[blocks.index(row["block"]), values.index(row[along])] = row["top1"]
    # A flat table keeps a scale of its own, and not of its rounding.
    low, high = float(np.nanmin(table)), float(np.nanmax(table))
    high = max(high, low + 0.01)
    scale = ScalarMappable(Normalize(low, high), _HEAT)
    figure = Figure(figsize=(1.9 + 0.62 * len(values), 1.3 + 0.34 * len(blocks)))
    axes = figure.subplots()
    axes.imshow(scale.to_rgba(table), interpolation="none", aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        dark = value - low < 0.55 * (high - low)
        text = "" if np.isnan(value) else f"{100 * value:.1f}"
        axes.text(
            j, i, text, ha="center", va="center", color="#fff" if dark else "#000", fontsize=9
        )
    if best[along] in values:
        corner = values.index(best[along]) - 0.5, blocks.index(best["block"]) - 0.5
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=ORANGE, linewidth=2.4))
    labels = [f"{value:g}" for value in values] if along == "t" else _short(rows, values)
    axes.set_xticks(range(len(values)), labels, rotation=0 if max(map(len, labels)) < 6 else 45)
    axes.set_yticks(range(len(blocks)), blocks, color=INK)
    axes.set_xlabel("noise t (0: the image)" if along == "t" else "epoch", color=MUTED)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _short(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Checkpoints by epoch, where all have one."""
    epochs = {row["checkpoint"]: row["epoch"] for row in rows}
    if any(epochs[name] is None for name in names):
        return list(names)
    return [str(epochs[name]) for name in names]
