"""Comparison of runs of the same images and classes, in a table and in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zsd_ray.analysis.comparison import ComparedPair, ComparedRun, Comparison, Figures
from zsd_ray.analysis.saved_run import SavedRun, open_run
from zsd_ray.config.identity import resolved
from zsd_ray.records.errors import UserError
from zsd_ray.results.totals import run_metrics
from zsd_ray.stats.paired import Discordance, bootstrap, mcnemar
from zsd_ray.storage.store import Store


def compare(paths: Sequence[str], by_id: bool = False, store: Store | None = None) -> Comparison:
    """Compare the runs whose outputs are at `paths`, on the images decided so far.

    Args:
        by_id: match images by id even if the runs' data sections differ, as for two copies of a
            data set.
        store: how they are reached; None: by a plain `Store()`.

    Raises:
        UserError: fewer than two runs, or runs of different classes or images.
    """
    if len(paths) < 2:
        raise UserError(f"compare needs two runs or more, but came {len(paths)}")
    store = store or Store()
    runs = [open_run(path, store) for path in paths]
    for run in runs[1:]:
        _refuse_other_data(runs[0], run, by_id)
    tables = [run.rows() for run in runs]
    labels = _labels([run.name for run in runs])
    return Comparison(
        runs=tuple(_figures(*each) for each in zip(runs, labels, tables, strict=True)),
        pairs=tuple(_pair(runs, tables, i, j) for i, j in combinations(range(len(runs)), 2)),
    )


def _refuse_other_data(first: SavedRun, other: SavedRun, by_id: bool) -> None:
    if first.record.classes != other.record.classes:
        n, m = len(first.record.classes), len(other.record.classes)
        both = zip(first.record.classes, other.record.classes, strict=False)
        odd = next((pair for pair in both if pair[0] != pair[1]), None)
        how = f"{odd[0]!r} against {odd[1]!r}" if n == m and odd else f"{n} against {m}"
        raise UserError(
            f"{other.name} is a run of other classes than {first.name} ({how}); compare runs of "
            "the same classes in the same order"
        )
    own, its = (run.record.identity_parts.get("data", {}) for run in (first, other))
    keys = [key for key in sorted({*own, *its}) if own.get(key) != its.get(key)]
    if keys and not by_id:
        how = ", ".join(f"data.{key} {own.get(key)!r} against {its.get(key)!r}" for key in keys)
        raise UserError(
            f"{other.name} is a run of other data than {first.name} ({how}); --by-id compares them "
            "all the same, an image with the one of the same id"
        )


def _figures(run: SavedRun, label: str, table: pa.Table) -> ComparedRun:
    config = run.config
    method = config.method
    return ComparedRun(
        name=run.name,
        label=label,
        status=run.record.status,
        model=config.model.path,
        weighting=config.draw_method.weighting if method.weighted else None,
        pruning=resolved(config.pruning),
        n_images=run.record.n_images,
        figures=Figures.of(run_metrics(table)),
        seconds=run.record.totals.get("seconds"),
        pilot_evaluations=run.record.totals.get("pilot_evaluations", 0),
    )


def _pair(runs: Sequence[SavedRun], tables: Sequence[pa.Table], i: int, j: int) -> ComparedPair:
    """Compare two runs on the images that both decided."""
    decided = [table.filter(pc.is_valid(table["prediction"])) for table in (tables[i], tables[j])]
    ids, its = (table["image_id"].to_numpy() for table in decided)
    _, place, its_place = np.intersect1d(ids, its, assume_unique=True, return_indices=True)
    first, second = decided[0].take(place), decided[1].take(its_place)
    n = len(first)
    if n == 0:
        raise UserError(
            f"{runs[i].name} and {runs[j].name} have decided no image in common; compare runs of "
            "the same images"
        )
    if pc.any(pc.not_equal(first["label"], second["label"])).as_py():
        raise UserError(
            f"{runs[i].name} and {runs[j].name} give images of the same id other labels; compare "
            "runs of the same images"
        )
    labelled = pc.and_(pc.is_valid(first["label"]), pc.is_valid(second["label"]))
    right = [table.filter(labelled)["correct"].to_numpy() for table in (first, second)]
    found = Discordance.of(*right)
    interval = bootstrap(found)
    cost, other = (run_metrics(table)["evaluations_per_image"] for table in (first, second))
    known = found.n > 0
    return ComparedPair(
        first=i,
        second=j,
        images=n,
        labelled=found.n,
        only_first=found.b,
        only_second=found.c,
        difference=found.difference if known else None,
        difference_low=interval.low if known else None,
        difference_high=interval.high if known else None,
        p_value=mcnemar(found) if known else None,
        agreement=pc.sum(pc.equal(first["prediction"], second["prediction"])).as_py() / n,
        evaluations_ratio=other / cost if cost else None,
    )


def _labels(names: Sequence[str]) -> list[str]:
    """Return the shortest distinct ends of paths; equal paths are returned whole."""
    parts = [name.rstrip("/").split("/") for name in names]
    for length in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(part[-length:]) for part in parts]
        if len(set(labels)) == len(set(names)):
            return labels
    return list(names)
