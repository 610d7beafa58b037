"""A good output of a run, and what disks, people and other versions make of one.

`good_output` writes an interrupted run of the digits without scoring anything; DAMAGES are named
and deterministic; `damage` draws one for a fuzz program.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsd_ray.config.identity import resolved
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.planning.plan import Plan
from zsd_ray.records.draw_table import Draws
from zsd_ray.records.scores import Decision, ImageState, RawDraw
from zsd_ray.results.heartbeat import Heartbeat
from zsd_ray.results.progress import Progress
from zsd_ray.results.provenance import now
from zsd_ray.results.rows.checkpoint import Checkpoint
from zsd_ray.results.run_file import RunFile

N_IMAGES, N_DRAWS, N_CLASSES = 24, 4, 10
PARTS = ("part-a.parquet", "part-b.parquet")
"""Four images are in the first, the others but one in the second, and the last is not decided."""

_COUNTERS = {"n_scored": 10, "n_rows": 10, "n_micro_batches": 1, "n_retries": 0}

Damage = Callable[[Path], None]


def config(folder: Path | str, **sections: Any) -> RunConfig:
    """The configuration that `good_output` is of."""
    tree: dict[str, Any] = {
        "data": {"limit": N_IMAGES},
        "method": {"weighting": "simple", "timesteps": "uniform", "t_range": [0.02, 0.98]},
        "pruning": {"rule": "none", "draws": N_DRAWS},
        "output": {"path": str(folder), "raw_scores": True},
        "tracking": {"mlflow": "off"},
    }
    return parse_config(RunConfig, tree | sections)


def good_output(folder: Path | str, **sections: Any) -> Plan:
    """Write the output; its plan, as it was before anything was written."""
    plan = make_plan(config(folder, **sections))
    output = plan.output
    output.prepare()
    rows = [decision(plan, number) for number in plan.todo[:-1]]
    for part, few in zip(PARTS, (rows[:4], rows[4:]), strict=True):
        output.write_decisions(few, raw_scores=plan.config.output.raw_scores, part=part)
    last = plan.records[plan.todo[-1]].image_id
    checkpoint = Checkpoint([state(last)], f"{plan.session}/0", _COUNTERS, plan.identity)
    output.write_checkpoint(0, checkpoint.to_bytes())
    output.write_run(
        RunFile(
            status="interrupted",
            config=resolved(plan.config),
            identity=plan.identity,
            identity_parts=plan.identity_parts,
            classes=list(plan.classes.names),
            versions={},
            seed=plan.config.seed,
            n_images=N_IMAGES,
            n_done=N_IMAGES - 1,
            started=now(),
            ended=now(),
            totals={"images": N_IMAGES - 1, "seconds": 7.0, "evaluations_per_image": 40.0},
        )
    )
    beat = Heartbeat("one", "interrupted", now(), "far", 7, "far away", _progress())
    output.write_bytes("progress.json", beat.to_json().encode())
    return plan


def decision(plan: Plan, number: int, **changes: Any) -> Decision:
    """A decided image with draws for all classes, the label of the data, and a right answer."""
    record = plan.records[number]
    errors = [(0.5 if k == record.label else 0.75) for k in range(N_CLASSES)]
    raw = tuple(
        RawDraw(d, 0.5, 0.8, 0.6, 1.0, tuple(range(N_CLASSES)), tuple(errors))
        for d in range(N_DRAWS)
    )
    values: dict[str, Any] = {
        "image_id": record.image_id,
        "source": record.source,
        "label": record.label,
        "prediction": record.label,
        "top5": (record.label,),
        "mean_scores": tuple(errors),
        "gaps": tuple(e - 0.5 for e in errors),
        "gap_errors": (0.1,) * N_CLASSES,
        "draws_per_class": (N_DRAWS,) * N_CLASSES,
        "n_draws": N_DRAWS,
        "n_evaluations": N_DRAWS * N_CLASSES,
        "n_spent": N_DRAWS * N_CLASSES,
        "stop_reason": "all-draws",
        "worker": "local",
        "seconds": 0.5,
        "raw": raw,
        "traced": True,
    }
    return Decision(**values | changes)


def state(image_id: str, **changes: Any) -> ImageState:
    """An image of which two draws were seen by all classes but the last."""
    values: dict[str, Any] = {
        "image_id": image_id,
        "n_draws": 0,
        "survivors": np.arange(N_CLASSES, dtype=np.int32),
        "draws": np.zeros(N_CLASSES, dtype=np.int32),
        "errors": np.full((1, N_CLASSES), np.nan, dtype=np.float32),
        "drawn": Draws(np.ones((1, 4))),
        "removed": np.zeros(0, np.float32),
        "n_spent": 10,
        "seconds": 0.1,
    }
    return ImageState(**values | changes)


def _progress() -> Progress:
    return Progress(
        n_images=N_IMAGES, n_decided=23, n_errors=0, n_labelled=23, n_correct=23, n_scored=10,
        evaluations_per_second=1.0, images_per_second=1.0, n_workers=1, seconds=2.0,
    )  # fmt: skip


# ---- what may happen to any file


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 8)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def zeroed(path: Path) -> None:
    """As a filesystem leaves what was not flushed when the power went."""
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    """One bit of the first page's data."""
    content = bytearray(path.read_bytes())
    content[60 % len(content)] ^= 0x10
    path.write_bytes(bytes(content))


def pointer(path: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    path.write_text(text)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


ANY: dict[str, Damage] = {
    each.__name__: each for each in (empty, garbage, truncated, zeroed, flipped, pointer, a_folder)
}


# ---- Parquet that is none of a run


def other_columns(path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2]}), path)


def _with(name: str, change: Callable[[list[Any]], list[Any]]) -> Damage:
    """Change the values of one column, in whatever type they are then."""

    def act(path: Path) -> None:
        table = pq.ParquetFile(path).read()
        field = table.schema.field(name)
        values = pa.array(change(table[name].to_pylist()), field.type)
        place = table.schema.get_field_index(name)
        loose = pa.field(name, field.type)
        pq.write_table(table.set_column(place, loose, values), path)

    return act


def _as_float64(name: str, change: Callable[[list[Any]], list[Any]]) -> Damage:
    """Change a column of lists after it is made float64, as another program may write it."""

    def act(path: Path) -> None:
        table = pq.ParquetFile(path).read()
        values = pa.array(change(table[name].to_pylist()), pa.list_(pa.float64()))
        pq.write_table(table.set_column(table.schema.get_field_index(name), name, values), path)

    return act


def _no_cells(path: Path) -> None:
    """A draw without classes or errors."""
    for name in ("classes", "eps_error"):
        _with(name, lambda v: [[], *v[1:]])(path)


def as_text(path: Path) -> None:
    """A column of another type."""
    table = pq.ParquetFile(path).read()
    place = table.schema.get_field_index("n_draws" if "n_draws" in table.column_names else "draw")
    texts = pa.array(["many"] * len(table))
    pq.write_table(table.set_column(place, table.column_names[place], texts), path)


DECISIONS: dict[str, Damage] = {
    "other_columns": other_columns,
    "as_text": as_text,
    "no_id": _with("image_id", lambda ids: [None, *ids[1:]]),
    "prediction_out_of_range": _with("prediction", lambda v: [N_CLASSES, *v[1:]]),
    "label_below_zero": _with("label", lambda v: [-3, *v[1:]]),
    "few_means": _with("mean_scores", lambda v: [v[0][:-1], *v[1:]]),
    "no_means": _with("mean_scores", lambda v: [[], *v[1:]]),
    "gaps_of_other_classes": _with("gaps", lambda v: [v[0] * 2, *v[1:]]),
    "neither_prediction_nor_error": _with("prediction", lambda v: [None, *v[1:]]),
    "cost_below_zero": _with("n_spent", lambda v: [-1, *v[1:]]),
    "no_cost": _with("n_evaluations", lambda v: [None, *v[1:]]),
    "correct_of_another_label": _with("correct", lambda v: [not v[0], *v[1:]]),
    "correct_without_a_label": _with("label", lambda v: [None] * len(v)),
    "infinite_means": _with("mean_scores", lambda v: [[float("inf")] * N_CLASSES, *v[1:]]),
    "means_beyond_float32": _with("mean_scores", lambda v: [[1e300] * N_CLASSES, *v[1:]]),
    "means_far_below_zero": _with("mean_scores", lambda v: [[-1e39] * N_CLASSES, *v[1:]]),
    "gaps_beyond_float32": _as_float64("gaps", lambda v: [[1e300] * N_CLASSES, *v[1:]]),
    "no_own_gap": _with("gaps", lambda v: [[float("nan")] * N_CLASSES, *v[1:]]),
    "infinite_gaps": _with("gaps", lambda v: [[float("-inf")] * N_CLASSES, *v[1:]]),
}

SCORES: dict[str, Damage] = {
    "other_columns": other_columns,
    "as_text": as_text,
    "no_id": _with("image_id", lambda ids: [None, *ids[1:]]),
    "class_out_of_range": _with("classes", lambda v: [[*v[0][:-1], 10**6], *v[1:]]),
    "few_errors": _with("eps_error", lambda v: [v[0][:-1], *v[1:]]),
    "draw_below_zero": _with("draw", lambda v: [-1, *v[1:]]),
    "no_weight": _with("weight", lambda v: [None, *v[1:]]),
    "weight_not_finite": _with("weight", lambda v: [float("nan"), *v[1:]]),
    "weight_below_zero": _with("weight", lambda v: [-1.0, *v[1:]]),
    "t_below_zero": _with("t", lambda v: [-0.1, *v[1:]]),
    "t_above_one": _with("t", lambda v: [*v[:-1], 1.5]),
    "classes_descending": _with("classes", lambda v: [v[0][::-1], *v[1:]]),
    "a_class_twice": _with("classes", lambda v: [*v[:-1], [0, *v[-1][:-1]]]),
    "no_class_in_a_row": _no_cells,
    "t_not_finite": _with("t", lambda v: [float("inf"), *v[1:]]),
    "errors_not_finite": _with("eps_error", lambda v: [[float("nan")] * len(v[0]), *v[1:]]),
}


def _state(**changes: Any) -> Damage:
    """A checkpoint whose image is not what any scheduler knew."""

    def act(path: Path) -> None:
        before = Checkpoint.from_bytes(path.read_bytes())
        image_id = before.states[0].image_id
        said = Checkpoint([state(image_id, **changes)], before.writer, before.counters)
        path.write_bytes(said.to_bytes())

    return act


def _of_another_run(path: Path) -> None:
    before = Checkpoint.from_bytes(path.read_bytes())
    path.write_bytes(
        Checkpoint(before.states, before.writer, before.counters, "another").to_bytes()
    )


def _no_counters(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    about = json.dumps({"writer": "one/0", "counters": {}})
    pq.write_table(table.replace_schema_metadata({"zsd_ray": about}), path)


CHECKPOINTS: dict[str, Damage] = {
    "other_columns": other_columns,
    "as_text": as_text,
    "of_another_run": _of_another_run,
    "no_counters": _no_counters,
    "survivors_out_of_range": _state(survivors=np.arange(1, N_CLASSES + 1, dtype=np.int32)),
    "survivors_twice": _state(survivors=np.zeros(N_CLASSES, dtype=np.int32)),
    "no_survivors": _state(survivors=np.zeros(0, np.int32), errors=np.zeros((1, 0), np.float32)),
    "other_classes": _state(draws=np.zeros(N_CLASSES + 3, dtype=np.int32)),
    "draws_that_nobody_made": _state(n_draws=3),
    "draws_below_zero": _state(n_draws=-1),
    "errors_unknown": _state(n_draws=1, draws=np.ones(N_CLASSES, dtype=np.int32)),
    "removed_too_many": _state(removed=np.zeros(5, np.float32)),
    "table_too_short": _state(drawn=Draws(np.zeros((0, 4)))),
}


# ---- JSON


def _json(**changes: Any) -> Damage:
    """Other values of keys; None: the key is missing."""

    def act(path: Path) -> None:
        tree = json.loads(path.read_text()) | changes
        tree = {key: value for key, value in tree.items() if value is not None}
        path.write_text(json.dumps(tree))

    return act


def a_list(path: Path) -> None:
    path.write_text("[1, 2]")


def a_deep_list(path: Path) -> None:
    path.write_text("[" * 100_000)


def not_utf8(path: Path) -> None:
    path.write_bytes(b'{"status": "\xff"}')


RUN_JSON: dict[str, Damage] = {
    "a_list": a_list,
    "a_deep_list": a_deep_list,
    "not_utf8": not_utf8,
    "no_classes": _json(classes=None),
    "classes_of_numbers": _json(classes=[1, 2]),
    "classes_empty": _json(classes=[]),
    "status_unknown": _json(status="resting"),
    "started_no_time": _json(started="yesterday"),
    "totals_a_list": _json(totals=[]),
    "totals_of_text": _json(totals={"images": "many", "seconds": "long"}),
    "images_a_text": _json(n_images="9"),
    "config_a_text": _json(config="see elsewhere"),
    "parts_a_list": _json(identity_parts=[]),
    "data_a_list": _json(identity_parts={"data": [1]}),
    "totals_beyond_floats": _json(totals={"images": 3, "seconds": 10**400}),
}

PROGRESS_JSON: dict[str, Damage] = {
    "a_list": a_list,
    "a_deep_list": a_deep_list,
    "not_utf8": not_utf8,
    "no_progress": _json(progress=None),
    "progress_a_list": _json(progress=[1]),
    "progress_of_texts": _json(progress={"n_images": "many"}),
    "pid_a_text": _json(pid="seven", status="running"),
    "at_no_time": _json(at="now", status="running"),
}

OF_FILE: dict[str, dict[str, Damage]] = {
    "decisions/part-a.parquet": ANY | DECISIONS,
    "scores/part-a.parquet": ANY | SCORES,
    "traces/part-a.parquet": ANY | SCORES,
    "checkpoints/0.parquet": ANY | CHECKPOINTS,
    "run.json": {name: ANY[name] for name in ANY if name != "flipped"} | RUN_JSON,
    "progress.json": {name: ANY[name] for name in ANY if name != "flipped"} | PROGRESS_JSON,
}
"""The damages of each file of `good_output`."""

CASES = [(file, name) for file, damages in OF_FILE.items() for name in damages]
"""Every (file, damage)."""


def damage(folder: Path, rng: random.Random) -> str:
    """Damage one file of an output of any kind; says which, and how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = rng.choice(files)
    name = str(path.relative_to(folder))
    known = OF_FILE.get(name)
    if known is not None and rng.random() < 0.5:
        how = rng.choice(sorted(known))
        try:
            known[how](path)
        except Exception:  # noqa: BLE001 - it was damaged before, and stays so
            return f"{name}: {how}, of what was damaged already"
        return f"{name}: {how}"
    content = bytearray(path.read_bytes())
    kind = rng.choice(["flip", "cut", "insert", "swap", "gone", *ANY])
    if kind in ANY:
        ANY[kind](path)
    elif kind == "gone":
        path.unlink()
    elif kind == "swap":  # with another file of the output
        path.write_bytes(rng.choice(files).read_bytes())
    elif content:
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(content) or 1)
            if kind == "flip" and content:
                content[place] ^= 1 << rng.randrange(8)
            elif kind == "cut":
                del content[place : place + rng.randint(1, 64)]
            else:
                content[place:place] = rng.randbytes(rng.randint(1, 16))
        path.write_bytes(bytes(content))
    return f"{name}: {kind}"
