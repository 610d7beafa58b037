"""The report of one run: one self-contained HTML page, made from saved rows only."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from PIL import Image

from zsd_ray.data.pictures.transforms import to_rgb
from zsd_ray.records.errors import ImageError
from zsd_ray.reports import class_bias_panel as bias_panel
from zsd_ray.reports import figures
from zsd_ray.reports.columns import Outcomes, choose_traces, integers
from zsd_ray.reports.levels import by_level, level_distances
from zsd_ray.reports.lines import preset_row, rule_text
from zsd_ray.reports.noise_levels import noise_levels_row
from zsd_ray.reports.page import inline, render
from zsd_ray.reports.progress_bar import duration
from zsd_ray.reports.screens import audit_tile
from zsd_ray.reports.summary import accuracy_rows
from zsd_ray.results.offset_file import OffsetRecord
from zsd_ray.results.run_file import RunFile
from zsd_ray.results.totals import run_metrics
from zsd_ray.stats import class_bias
from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.label_ranks import (
    accuracy,
    confused_pairs,
    confusion_matrix,
    per_class_accuracy,
)

MAX_ROWS = 20
MAX_PAIRS = 15
_PICTURE_SIDE = 256
_MESSAGE_LENGTH = 1000
_LEAST_FOR_BIAS = 20  # labelled images: fewer cannot tell it

_STATUS = {
    "running": "This run has not ended, or was killed.",
    "incomplete": "This run is incomplete.",
    "interrupted": "This run was interrupted.",
    "failed": "This run failed.",
}


def render_report(
    run: RunFile,
    decisions: pa.Table,
    draws: pa.Table,
    pictures: Mapping[str, Image.Image],
    offset: OffsetRecord | None = None,
) -> str:
    """Render the page.

    Args:
        decisions: rows of OUTPUT/decisions, in any order.
        draws: rows of OUTPUT/scores or OUTPUT/traces; may be empty.
        pictures: by image id, those of `pictures_wanted`. A missing one leaves a placeholder.
        offset: subtracted from the scores; None: nothing.
    """
    rows = Outcomes.of(decisions)
    wrong = _wrong_rows(run, rows, pictures)
    return render(
        "reports/report.html",
        run=run,
        title=f"{_setting(run, 'model', 'path')} on {_setting(run, 'data', 'path', 'source')}",
        settings=_settings(run, draws),
        banner=_banner(run, rows),
        tiles=_tiles(run, rows, run_metrics(decisions)),
        figures=_figures(run, rows, draws, offset),
        pairs=_pairs(run, rows),
        traces=_traces(run, rows, draws, pictures),
        wrong=wrong,
        wrong_pictures=any(row["picture"] for row in wrong),
        n_wrong=rows.wrong.num_rows,
        errors=[
            {**row, "error": _cut(row["error"], _MESSAGE_LENGTH)}
            for row in rows.failed.slice(0, MAX_ROWS).to_pylist()
        ],
        n_errors=rows.failed.num_rows,
        config=_yaml(run.config),
        identity_parts=_yaml(run.identity_parts),
    )


def pictures_wanted(decisions: pa.Table, draws: pa.Table) -> list[str]:
    """Return the ids of the images whose pictures the report shows: at most 26."""
    rows = Outcomes.of(decisions)
    traced = [image_id for _, image_id in choose_traces(rows, draws)]
    return list(dict.fromkeys([*traced, *rows.wrong["image_id"].to_pylist()[:MAX_ROWS]]))


def _banner(run: RunFile, rows: Outcomes) -> dict[str, str] | None:
    """Return the caveat of the figures, or None."""
    parts = [_STATUS[run.status]] if run.status in _STATUS else []
    missing = run.n_images - rows.n_done
    if missing > 0:
        parts.append(
            f"{rows.n_done:,} of {run.n_images:,} images have a row; everything below describes "
            "these alone. Started again with the same output, the run does the rest."
        )
    failed = rows.failed.num_rows
    if failed:
        parts.append(
            f"{failed:,} {'image' if failed == 1 else 'images'} could not be classified; "
            "accuracy leaves them out, and they are listed below."
        )
    if not parts:
        return None
    return {"level": "bad" if run.status == "failed" else "warn", "text": " ".join(parts)}


def _tiles(run: RunFile, rows: Outcomes, metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the headline figures: name, value, and a line of details."""
    tiles = []
    n = rows.labelled.num_rows
    if n:
        right = n - rows.wrong.num_rows
        low, high = wilson(right, n)
        share = accuracy(rows.labels == rows.predictions)
        tiles.append(
            _tile(
                "accuracy",
                _percent(share),
                f"95% interval {100 * low:.1f} to {100 * high:.1f}%",
                f"{right:,} of {n:,} images",
            )
        )
    tiles += [
        _tile(name, *value.split("  ")) for name, value in accuracy_rows(metrics, run.classes)[1:]
    ]
    tiles.append(_tile("images", f"{rows.n_done:,}", f"of {run.n_images:,}"))
    tiles.append(_tile("errors", f"{rows.failed.num_rows:,}", "images without a prediction"))
    if rows.decided.num_rows:
        by_screen = rows.screen_evaluations
        taken = integers(rows.decided, "n_evaluations") + by_screen
        notes = [f"{by_screen.mean():,.0f} of them by the screen"] if by_screen.any() else []
        tiles.append(
            _tile(
                "evaluations per image",
                f"{taken.mean():,.0f}",
                f"mean; median {np.median(taken):,.0f}",
                *notes,
            )
        )
    totals = run.totals
    audit = audit_tile(totals)
    if audit is not None:
        tiles.append(_tile(*audit))
    needed, spent_in_all = totals.get("n_evaluations"), totals.get("n_spent")
    if needed and spent_in_all is not None:
        beyond = spent_in_all - needed
        tiles.append(
            _tile("spent beyond the rule", _percent(beyond / needed), f"{beyond:,} evaluations")
        )
    if totals.get("evaluations_per_second") is not None:
        tiles.append(_tile("evaluations/s", f"{totals['evaluations_per_second']:,.0f}", ""))
    if totals.get("seconds") is not None:
        notes = [
            f"{duration(totals[key])} {what}"
            for key, what in (
                ("startup_seconds", "start-up"),
                ("stage_seconds", "screen and audit"),
            )
            if totals.get(key)
        ]
        notes = notes or [f"{totals['seconds']:,.0f} s"]
        tiles.append(_tile("wall time", duration(totals["seconds"]), *notes))
    return tiles


def _tile(name: str, value: str, *notes: str) -> dict[str, Any]:
    return {"name": name, "value": value, "notes": notes}


def _figures(
    run: RunFile, rows: Outcomes, draws: pa.Table, offset: OffsetRecord | None
) -> list[dict[str, Any]]:
    """Return the figures that these rows allow, each with a caption."""
    made = []

    def add(name: str, title: str, figure: Any, caption: str, wide: bool = False) -> None:
        drawn = inline(figure, name, f"{title}. {caption}")
        made.append({"title": title, "svg": drawn, "caption": caption, "wide": wide})

    n_classes = len(run.classes)
    if rows.labelled.num_rows:
        counts, right = per_class_accuracy(rows.labels, rows.labels == rows.predictions, n_classes)
        seen = int((counts > 0).sum())
        cut = seen > figures.MAX_CLASS_ROWS
        which = f"The 20 best and the 20 worst of {seen:,} classes" if cut else "Each class"
        add(
            "per-class",
            "Accuracy of each class",
            figures.per_class(counts, right, run.classes),
            f"{which}, with n images and the Wilson 95% interval; the dashed line is the accuracy "
            "over all images.",
        )
        if n_classes <= figures.MAX_CLASS_ROWS:
            counted = n_classes <= figures.MAX_COUNTED_CLASSES
            what = "numbers count images; " if counted else ""
            add(
                "confusion",
                "Confusion matrix",
                figures.confusion(
                    confusion_matrix(rows.labels, rows.predictions, n_classes), run.classes
                ),
                f"Rows are labels, columns predictions: {what}the deeper the blue, the larger the "
                "share of the label's images.",
                wide=not counted,
            )
    if rows.labelled.num_rows >= _LEAST_FOR_BIAS:
        bias = class_bias.class_bias(rows.labels, rows.predictions, n_classes)
        add(
            "class-bias",
            "Class bias",
            bias_panel.figure(bias, run.classes, offset),
            bias_panel.sentence(bias, run.classes, offset),
        )
    if rows.decided.num_rows:
        after_screen = ", after the screen" if rows.screen_evaluations.any() else ""
        add(
            "evaluations",
            "Cost of an image",
            figures.evaluations(integers(rows.decided, "n_evaluations")),
            "Images by the number of evaluations (one network forward for one image, class and "
            f"draw) that the rule asked for{after_screen}.",
        )
    if rows.decided.num_rows and _setting(run, "pruning", "rule") not in ("none", "vote"):
        add(
            "surviving",
            "How classes fall",
            figures.surviving(rows.draws_per_class, rows.one_left),
            "Classes left after so many draws, mean and spread over images; an image that has "
            "stopped still counts with the classes that were left at its end.",
        )
    voted = _setting(run, "method", "name") == "noise-denoise-vote"
    found = level_distances(draws, rows.labelled) if voted else None
    if found is not None:
        add(
            "levels",
            "Distance against noise level",
            by_level(found),
            f"Above, the distance of the denoised image, mean of {len(found.own):,} images with "
            "Student's 95% interval; below, the share of them whose true class is nearest at that "
            "level, with Wilson's.",
        )
    return sorted(made, key=lambda figure: bool(figure["wide"]))


def _pairs(run: RunFile, rows: Outcomes) -> list[dict[str, Any]]:
    """Return the most confused pairs of classes, if there are too many for a matrix."""
    if len(run.classes) <= figures.MAX_CLASS_ROWS:
        return []
    counts = np.bincount(rows.labels, minlength=len(run.classes))
    return [
        {
            "label": run.classes[label],
            "prediction": run.classes[prediction],
            "images": images,
            "share": _percent(images / counts[label]),
        }
        for label, prediction, images in confused_pairs(rows.labels, rows.predictions, MAX_PAIRS)
    ]


def _traces(
    run: RunFile, rows: Outcomes, draws: pa.Table, pictures: Mapping[str, Image.Image]
) -> list[dict[str, Any]]:
    """Return one card per elimination: the picture, the figure, a caption."""
    cards = []
    for number, (why, image_id) in enumerate(choose_traces(rows, draws)):
        row = rows.decided.filter(pc.equal(rows.decided["image_id"], image_id)).to_pylist()[0]
        own = draws.filter(pc.equal(draws["image_id"], image_id))
        figure = figures.elimination_trace(own, run.classes, row["label"], row["prediction"])
        outcome = f"Predicted {run.classes[row['prediction']]}"
        if row["label"] is not None:
            outcome += f", true class {run.classes[row['label']]}"
        caption = (
            f"{outcome}; {row['n_draws']:,} draws, {row['n_evaluations']:,} evaluations; "
            f"stop reason: {row['stop_reason']}."
        )
        cards.append(
            {
                "kind": why,
                "image_id": image_id,
                "caption": caption,
                "svg": inline(figure, f"trace-{number}", caption),
                "picture": data_uri(pictures.get(image_id)),
            }
        )
    return cards


def _wrong_rows(
    run: RunFile, rows: Outcomes, pictures: Mapping[str, Image.Image]
) -> list[dict[str, Any]]:
    """Return the first wrong predictions by image id."""
    found = []
    for row in rows.wrong.slice(0, MAX_ROWS).to_pylist():
        top5 = row["top5"]
        place = top5.index(row["label"]) + 1 if row["label"] in top5 else None
        found.append(
            {
                **row,
                "label": run.classes[row["label"]],
                "prediction": run.classes[row["prediction"]],
                "rank": str(place) if place else f"> {len(top5)}",
                "picture": data_uri(pictures.get(row["image_id"])),
            }
        )
    return found


def data_uri(picture: Image.Image | None) -> str | None:
    """Return a picture as the model saw it, at most 256 pixels per side, as a data URI."""
    if picture is None:
        return None
    try:
        small = to_rgb(picture)
    except ImageError:
        return None  # its row says why
    small.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    small.info.clear()  # what the file said beside its pixels, which a writer may refuse
    # A handful of pixels must stay sharp; a photograph as PNG would be ten times as large.
    kind = "png" if max(small.size) <= 64 else "jpeg"
    buffer = io.BytesIO()
    small.save(buffer, kind)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _method(run: RunFile) -> str:
    """Return the method and the keys that distinguish its runs."""
    keys = dict(run.config.get("method", {}))
    name = str(keys.pop("name", "method"))
    if name == "classifier":
        return name
    if name == "diffusion-classifier":
        return f"{name}, weighting {keys.get('weighting')}"
    said = ", ".join(f"{key} {value}" for key, value in keys.items() if value is not None)
    return f"{name} ({said})"


def _settings(run: RunFile, draws: pa.Table) -> list[tuple[str, str]]:
    """Return the first lines of the page: the main settings."""
    return [
        *preset_row(run.config),
        ("method", _method(run)),
        *noise_levels_row(run, draws),
        ("pruning", rule_text({"rule": "pruning"} | dict(run.config.get("pruning", {})))),
        *_screen(run),
        ("data", f"{_setting(run, 'data', 'source')}, {len(run.classes):,} classes"),
        ("seed", str(run.seed)),
        ("started", run.started or "not recorded"),
        ("ended", run.ended or "not yet"),
        ("identity", run.identity),
    ]


def _screen(run: RunFile) -> list[tuple[str, str]]:
    screen = run.config.get("screen")
    if not screen:
        return []
    kind, place = next((kind, screen[kind]) for kind in ("run", "tree") if screen.get(kind))
    return [("screen", f"the {screen['top']} best of the {kind} {place}")]


def _setting(run: RunFile, section: str, *keys: str) -> str:
    """Return the value of the first of the keys that is set."""
    values = run.config.get(section, {})
    return next((str(values[key]) for key in keys if values.get(key)), section)


def _yaml(tree: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, width=88)


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
