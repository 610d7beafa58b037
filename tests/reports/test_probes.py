"""The page and the lines of probes, from made-up rows."""

import re

import pytest

from zsd_ray.studies.probes.probe_page import best_rows, heat_map, probe_lines, render_probes
from zsd_ray.studies.probes.probe_record import ProbeRecord
from zsd_ray.studies.probes.probe_rows import best_of


def row(epoch, t, block, probe="linear", top1=0.5, validation=None, setting="l2=1"):
    return {
        "checkpoint": f"epoch-{epoch:04d}",
        "epoch": epoch,
        "t": t,
        "block": block,
        "pooling": "mean",
        "probe": probe,
        "setting": setting,
        "n_features": 8,
        "n_train": 1200,
        "n_test": 400,
        "validation": top1 if validation is None else validation,
        "top1": top1,
        "low": top1 - 0.04,
        "high": top1 + 0.04,
        "top_k": 0.9,
        "converged": True,
    }


ROWS = [
    row(epoch, t, block, top1=0.3 + 0.01 * epoch - 0.1 * t + 0.05 * number)
    for epoch in (1, 5, 20)
    for t in (0.0, 0.25)
    for number, block in enumerate(["down.0", "mid", "<up>"])
]
BEST = ROWS[14]  # epoch 20, clean, <up>


def record(rows):
    best = {kind: best_of(rows, kind)[0] for kind in ("linear", "knn") if best_of(rows, kind)}
    config = {"model": {"family": "ddpm", "path": "runs/<x>"}, "top_k": 3, "seed": 0}
    names = {row["checkpoint"]: "abc" for row in rows}
    return ProbeRecord("finished", config, "", {}, names, {}, "", n_cells=len(rows), best=best)


def texts(figure):
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


def test_a_heat_map_has_a_cell_for_each_block_and_epoch():
    shown = [row for row in ROWS if row["t"] == 0]
    figure = heat_map(shown, "checkpoint", BEST)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "5", "20"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["down.0", "mid", "<up>"]
    assert texts(figure) == [
        "31.0", "35.0", "50.0",
        "36.0", "40.0", "55.0",
        "41.0", "45.0", "60.0",
    ]  # fmt: skip
    (frame,) = axes.patches
    assert (frame.get_x(), frame.get_y()) == (1.5, 1.5)  # column 2, row 2


def test_a_heat_map_over_noise_is_in_its_order_and_lacks_what_is_not_there():
    shown = [row for row in reversed(ROWS) if row["epoch"] == 5][:-1]
    figure = heat_map(shown, "t", BEST)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0", "0.25"]
    assert texts(figure).count("") == 1


def test_the_page_shows_epochs_and_noise_and_escapes_names():
    page = render_probes(record(ROWS), ROWS)
    assert page.count("<svg") == 2
    assert "Linear probe: block by epoch" in page
    assert "Linear probe: block by noise" in page
    assert "<up>" not in page
    assert "runs/&lt;x&gt;" in page
    assert "60.0% [56.0%, 64.0%]" in page
    one = [row for row in ROWS if row["epoch"] == 5]
    assert render_probes(record(one), one).count("<svg") == 1  # no epochs to compare


def test_the_best_cells_are_those_of_the_held_out_images():
    rows = [
        row(1, 0.0, "mid", top1=0.9, validation=0.6),
        row(1, 0.0, "up.0", top1=0.8, validation=0.7),
        row(1, 0.0, "mid", "knn", top1=0.5, setting="k=3 cosine"),
    ]
    assert [(r[0], r[3]) for r in best_rows(rows)] == [
        ("linear", "up.0"),
        ("linear", "mid"),
        ("knn", "mid"),
    ]
    lines = probe_lines(record(rows), rows)
    assert re.search(r"linear +epoch-0001 +0 +up\.0 +mean +l2=1 +70\.0% +80\.0% \[76", lines)
    assert lines.endswith("the best of 3 cells by the held-out training images")
    assert "top 3" in lines


def test_rows_that_are_alike_keep_their_order():
    rows = [row(1, 0.0, block, top1=0.5) for block in ("a", "b", "c")]
    assert [r["block"] for r in best_of(rows, "linear")] == ["a", "b", "c"]
    assert best_of(rows, "knn") == []


@pytest.mark.parametrize("missing", [True, False])
def test_checkpoints_without_epochs_are_named(missing):
    rows = [r | ({"epoch": None} if missing else {}) for r in ROWS if r["t"] == 0]
    labels = heat_map(rows, "checkpoint", rows[0]).axes[0].get_xticklabels()
    wanted = ["epoch-0001", "epoch-0005", "epoch-0020"] if missing else ["1", "5", "20"]
    assert [label.get_text() for label in labels] == wanted
