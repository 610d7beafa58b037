"""Rows of OUTPUT/scores as arrays, against the rows one by one."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from zsd_ray.analysis.saved_run import open_run
from zsd_ray.analysis.saved_scores import SavedScores, read_scores
from zsd_ray.records.errors import UserError
from zsd_ray.results.rows.schema import SCORES


def made_up_rows():
    """Three images; classes fall, and one is left out from the start."""
    rng = np.random.default_rng(0)
    rows = []
    for image, n_draws in [("b", 5), ("a", 2), ("c", 1)]:
        for draw in range(n_draws):
            classes = [0, 2, 3] if draw < 2 else [2, 3] if draw < 4 else [3]
            rows.append(
                {
                    "image_id": image,
                    "draw": draw,
                    **dict(zip(("t", "alpha", "sigma", "weight"), rng.random(4), strict=True)),
                    "classes": classes,
                    "eps_error": rng.random(len(classes)).astype(np.float32),
                }
            )
    return rows


def check(scores, rows):
    """Every row is where it should be, and nothing else is there."""
    assert sorted(scores.image_ids) == ["a", "b", "c"]
    for image, name in enumerate(scores.image_ids):
        own = sorted((row for row in rows if row["image_id"] == name), key=lambda row: row["draw"])
        errors = scores.errors_of(image)
        assert errors.shape == (len(own), 4)
        for column in ("draw", "t", "alpha", "sigma", "weight"):
            expected = [row[column] for row in own]
            assert getattr(scores, column)[scores.rows(image)].tolist() == expected
        for given, row in zip(errors, own, strict=True):
            assert np.flatnonzero(~np.isnan(given)).tolist() == row["classes"]
            assert given[row["classes"]].tolist() == row["eps_error"].tolist()


def test_rows_in_any_order_and_in_parts_with_a_draw_saved_twice():
    rows = made_up_rows()
    table = pa.Table.from_pylist(rows, schema=SCORES)
    check(SavedScores.of(table, 4), rows)
    backwards = table.take(list(range(len(table)))[::-1])
    check(SavedScores.of(backwards, 4), rows)
    changed = [dict(row, weight=9.0) for row in rows[:3]]  # the first one counts
    parts = [table.slice(0, 4), table.slice(4), pa.Table.from_pylist(changed, schema=SCORES)]
    check(SavedScores.of(pa.concat_tables(parts), 4), rows)


def test_a_real_run(full_run, pruned_run):
    for path, n_cells in [(full_run, 12 * 40 * 10), (pruned_run, None)]:
        run = open_run(path)
        scores = read_scores(run)
        decisions = {row["image_id"]: row for row in run.read("decisions").to_pylist()}
        assert set(scores.image_ids) == set(decisions)
        for image, name in enumerate(scores.image_ids):
            given = np.isfinite(scores.errors_of(image)).sum(axis=0)
            assert given.tolist() == decisions[name]["draws_per_class"]
        assert n_cells is None or len(scores.errors) == n_cells


def test_damaged_scores_are_one_line(tmp_path, pruned_run):
    run = tmp_path / "run"
    shutil.copytree(pruned_run, run)
    next((run / "scores").iterdir()).write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"scores/part-.* is damaged") as caught:
        read_scores(open_run(str(run)))
    assert "\n" not in str(caught.value)
