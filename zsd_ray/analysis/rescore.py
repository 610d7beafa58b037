"""Decisions from a run's saved scores under another weighting or rule."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsd_ray.analysis.comparison import Figures, OffsetEffect, Rescored
from zsd_ray.analysis.fit_share import in_share
from zsd_ray.analysis.offset_of_run import offset_of, own_offset
from zsd_ray.analysis.replay import replay
from zsd_ray.analysis.reweight import reweighted
from zsd_ray.analysis.saved_run import SavedRun, open_run
from zsd_ray.analysis.saved_scores import Array, SavedScores, read_scores
from zsd_ray.analysis.settings import changed
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.identity import hash_of, resolved
from zsd_ray.config.run import RunConfig
from zsd_ray.records.draw_table import Draws
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.records.scores import Decision
from zsd_ray.results.output import Output, part_name
from zsd_ray.results.places import free_path, refuse_relative_place
from zsd_ray.results.rows.schema import decisions_table
from zsd_ray.results.run_file import RunFile
from zsd_ray.results.totals import run_metrics
from zsd_ray.settings.section import a_place, of_a_known_user, that_lasts
from zsd_ray.stats.class_offset import SCALE_DRAWS, ClassOffset
from zsd_ray.stats.paired import Discordance, bootstrap, mcnemar
from zsd_ray.storage.store import Store

BEYOND = "beyond-scores"
"""Stop reason of an image whose replay wants scores that were not saved."""

_PART_ROWS = 5_000
_KEPT = ("image_id", "source", "label", "group", "n_candidates", "n_screen_evaluations")


def rescore(
    path: str,
    weighting: str | None = None,
    rule: str | None = None,
    overrides: Sequence[str] = (),
    output: str | None = None,
    class_offset: bool = False,
    store: Store | None = None,
) -> Rescored:
    """Replay the run whose output is at `path`, with settings as of `settings.changed`.

    Args:
        class_offset: subtract the model's bias for some classes, estimated from all images of the
            run but the one that is decided (stats/class_offset.py).
        output: write the decisions there, as a run's output.
        store: how all of them are reached; None: by a plain `Store()`.

    Raises:
        UserError: no such run, no raw scores in it, settings that saved scores do not support, or
            `output` already exists.
    """
    start = time.perf_counter()
    if output is not None:
        refuse_relative_place("--output", output)
    store = store or Store()
    run = open_run(path, store)
    config = changed(run.config, weighting, rule, overrides, store)
    if output is not None:
        _check_place(output)
    if output is not None and free_path(output, store) != output.rstrip("/"):
        raise UserError(f"there is something at {redact(output)}; choose another --output")
    place = None if output is None else Output(output, store)
    scores = read_scores(run)
    offset = None
    if class_offset:
        offset = offset_of(run, scores, config.draw_method)
    found = rescored(run, scores, config, place, offset)
    return replace(found, seconds=round(time.perf_counter() - start, 3))


def _check_place(output: str) -> None:
    try:
        that_lasts(of_a_known_user(a_place(output)))
    except ValueError as error:
        raise UserError(f"--output {error}") from error


def _looking_late_enough(config: RunConfig) -> RunConfig:
    try:
        pruning = config.pruning.not_before(SCALE_DRAWS)
    except ValueError as error:
        raise UserError(f"--class-offset {error}; choose another rule") from error
    return config.model_copy(update={"pruning": pruning})


def rescored(
    run: SavedRun,
    scores: SavedScores,
    config: RunConfig,
    place: Output | None = None,
    offset: ClassOffset | None = None,
) -> Rescored:
    """Replay a run like `rescore`, from scores that have been read already.

    Args:
        config: the run's own, with another weighting or rule.
        place: where the decisions are written; None: nowhere.
        offset: subtracted from the scores; None: the run's own, if it has one.

    Raises:
        UserError: an offset is given, and images do not choose among all classes.
    """
    start = time.perf_counter()
    offset = offset or own_offset(run, config.draw_method)
    if offset is not None:
        config = _looking_late_enough(config)
    weight = reweighted(scores, run.config.draw_method, config.draw_method)
    rows = run.rows()
    own = rows.filter(_unseen(rows, config.draw_method))
    if place is not None:
        place.prepare()
    parts = [decisions_table([])]
    n_captions = _n_captions(run)
    if offset is not None and (n_captions is not None or run.config.screen is not None):
        raise UserError(
            f"{run.name}: a class offset is measured over all classes of a run, and its images "
            "choose among captions of their own or what a screen leaves"
        )
    decisions = _decisions(config, scores, weight, own, n_captions, offset)
    while part := list(islice(decisions, _PART_ROWS)):
        parts.append(decisions_table(part))
        if place is not None:
            place.write_decisions(part, raw_scores=False, part=part_name())
    table = pa.concat_tables(parts)
    if place is not None:
        place.write_run(_record(run, config, place, table, offset is not None))
    again = pc.is_valid(table["prediction"])
    after = Figures.of(run_metrics(table.filter(again)))
    beyond = table.filter(pc.equal(table["stop_reason"], BEYOND))
    n_unknown = len(beyond) - beyond["label"].null_count
    labelled = after.labelled + n_unknown
    agree = pc.equal(table["prediction"], own["prediction"])  # null where either has none
    return Rescored(
        run=run.name,
        weighting=(run.config.draw_method.weighting, config.draw_method.weighting),
        pruning=(resolved(run.config.pruning), resolved(config.pruning)),
        n_images=len(own),
        n_errors=len(own) - own["error"].null_count,
        n_left_out=len(rows) - len(own),
        n_beyond=len(beyond),
        n_saved_draws=int(np.diff(scores.first_row).max()),
        before=Figures.of(run_metrics(own)),
        same=Figures.of(run_metrics(own.filter(again))),
        after=after,
        n_agree=pc.sum(agree).as_py() or 0,
        accuracy_least=after.correct / labelled if labelled else None,
        accuracy_most=(after.correct + n_unknown) / labelled if labelled else None,
        seconds=round(time.perf_counter() - start, 3),
        output=None if place is None else redact(place.path),
        offset=None
        if offset is None
        else _effect(
            offset, decisions_table(_decisions(config, scores, weight, own, n_captions)), table
        ),
    )


def _effect(offset: ClassOffset, without: pa.Table, table: pa.Table) -> OffsetEffect:
    """Return the effect of an offset on the images that both decided."""
    both = pc.and_(pc.is_valid(without["prediction"]), pc.is_valid(table["prediction"]))
    without, table = without.filter(both), table.filter(both)
    labelled = pc.is_valid(table["correct"])
    pair = Discordance.of(
        *(rows["correct"].filter(labelled).to_numpy() for rows in (without, table))
    )
    low, high = bootstrap(pair) if pair.n else (None, None)
    return OffsetEffect(
        images=len(offset.ids),
        shrinkage=offset.shrinkage,
        without=Figures.of(run_metrics(without)),
        difference=pair.difference if pair.n else None,
        difference_low=low,
        difference_high=high,
        p_value=mcnemar(pair) if pair.n else None,
    )


def _n_captions(run: SavedRun) -> int | None:
    """Return the most captions that an image has of its own; None: all choose among all classes."""
    if "captions" not in run.record.identity_parts:
        return None
    shown = run.output.shown("run.json")
    most = run.record.part("captions", shown).get("most")
    n_classes = len(run.record.classes)
    if type(most) is not int or not 1 <= most <= n_classes:
        raise UserError(
            f"{shown} is damaged: identity_parts.captions.most is {most!r}, and 1 to {n_classes} "
            "of its classes may be an image's captions; mend it, or run again with --fresh"
        )
    return most


def _decisions(
    config: RunConfig,
    scores: SavedScores,
    weight: Array,
    own: pa.Table,
    n_captions: int | None,
    offset: ClassOffset | None = None,
) -> Iterator[Decision]:
    """Return a new decision for each row of the run's decisions, in their order.

    Args:
        n_captions: the most that an image has of its own; None: all choose among all classes.
    """
    rule = config.pruning.make(scores.n_classes if n_captions is None else n_captions)
    cost = config.method.cost(config.size(scores.n_classes))
    draws = Draws.of(scores.t, scores.alpha, scores.sigma, weight)
    numbers = {image_id: number for number, image_id in enumerate(scores.image_ids)}
    blank = np.full((0, scores.n_classes), np.nan, dtype=np.float32)
    for row in own.to_pylist():
        same = {name: row[name] for name in _KEPT}
        if row["error"] is not None:
            yield Decision(**same, prediction=None, stop_reason="error", error=row["error"])
            continue
        number = numbers.get(row["image_id"])
        errors = blank if number is None else scores.errors_of(number)
        own_draws = draws[:0] if number is None else draws[scores.rows(number)]
        candidates = _candidates(row, errors, n_captions is not None)
        ahead = None if offset is None else offset.of(row["image_id"])
        outcome = replay(rule, errors, own_draws, candidates, ahead)
        if outcome is None:
            error = "the rule wants scores that were not saved"
            yield Decision(**same, prediction=None, stop_reason=BEYOND, error=error)
            continue
        yield Decision(
            **same,
            prediction=outcome.ranking[0],
            uncorrected=outcome.uncorrected,
            top5=outcome.ranking[:5],
            mean_scores=outcome.mean_scores,
            gaps=outcome.gaps,
            gap_errors=outcome.gap_errors,
            draws_per_class=outcome.draws_per_class,
            n_draws=outcome.n_draws,
            n_evaluations=cost.of_race(outcome.n_scores, outcome.n_draws),
            stop_reason=outcome.stop_reason,
        )


def _candidates(
    row: Mapping[str, Any], errors_DK: NDArray[np.float32], captioned: bool
) -> NDArray[np.int32] | None:
    """Return the candidate classes of an image: a screen's, or its captions; None: all."""
    if row["n_candidates"] is None and not captioned:
        return None
    if not len(errors_DK):  # one alone, decided without a draw
        return np.array([row["prediction"]], dtype=np.int32)
    return np.flatnonzero(np.isfinite(errors_DK[0])).astype(np.int32)


def _unseen(rows: pa.Table, method: DiffusionClassifierMethod) -> NDArray[np.bool_]:
    """Return the images whose labels the weighting was not fitted to."""
    on = method.fitted.fitted_on if method.fitted and method.weighting == "learned" else None
    if on is None or on.share is None or on.salt is None:
        return np.ones(len(rows), dtype=bool)
    seen = [in_share(image_id, on.share, on.salt) for image_id in rows["image_id"].to_pylist()]
    return ~np.array(seen, dtype=bool)


def _record(
    run: SavedRun, config: RunConfig, place: Output, table: pa.Table, has_offset: bool
) -> RunFile:
    """Return the run.json of a replay. Its identity is no run's, so that no run resumes from its
    rows."""
    output = config.output.model_copy(update={"path": place.path, "raw_scores": False})
    config = config.model_copy(update={"output": output})
    parts = run.record.identity_parts | {
        "method": resolved(config.draw_method),
        "pruning": resolved(config.pruning),
        "rescored": run.record.identity,
        **({"class_offset": "of all its images"} if has_offset else {}),
    }
    totals = run_metrics(table)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return replace(
        run.record,
        status="incomplete" if totals["errors"] else "finished",
        config=resolved(config),
        identity=hash_of(parts),
        identity_parts=parts,
        n_images=len(table),
        n_done=totals["images"] - totals["errors"],
        started=now,
        ended=now,
        totals=totals,
        mlflow_run_id=None,
    )
