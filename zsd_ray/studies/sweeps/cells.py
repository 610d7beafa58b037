"""The cells of a suite: the runs of a sweep, each with its whole configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from zsd_ray.config.data import CorruptionConfig
from zsd_ray.config.families import FAMILIES
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.data.captioned.attribute_binding import TASKS
from zsd_ray.data.catalogue import spec_of
from zsd_ray.planning.plan import Plan
from zsd_ray.records.errors import UserError
from zsd_ray.results.tracking.tracker import tracking_uri
from zsd_ray.studies.sweeps.chance import beats_chance
from zsd_ray.studies.sweeps.suite_config import (
    Cell,
    CellResult,
    SuiteConfig,
    SuiteDataset,
    SuitePart,
)

_TAGS = {"method": "name", "pruning": "rule"}
"""Sections whose other keys mean nothing under another value of this one."""
BASELINE = "classifier"
"""The method of a model that is no diffusion model."""


class CellRun(NamedTuple):
    """A cell and its run."""

    cell: Cell
    config: RunConfig


def cell_runs(suite: SuiteConfig, limit: int | None = None) -> list[CellRun]:
    """Every run of a suite, in the order of its table: data set by data set.

    Args:
        limit: of the images of each, whatever the suite says.

    Raises:
        UserError: a cell has an invalid configuration.
    """
    base = suite.output.path.rstrip("/")
    tracking = suite.tracking.model_dump(mode="json")
    # Of all cells together: beside the suite's folder, where `auto` means a file.
    tracking["mlflow"] = tracking_uri(suite.tracking.mlflow, base) or "off"
    shared = {
        "storage": suite.storage.model_dump(mode="json"),
        "tracking": tracking,
    }
    runs = []
    for cell, tree in _cells(suite):
        if limit is not None:
            tree["data"] = tree["data"] | {"limit": limit}
        path = "/".join([base, *(_folder(part) for part in _path(cell))])
        output = suite.output.model_dump(mode="json") | {"path": path}
        where = f"the cell {cell.name}"
        runs.append(
            CellRun(cell, parse_config(RunConfig, tree | shared | {"output": output}, where))
        )
    if not runs:
        raise UserError("no cell is left: models.*.datasets leaves every data set out")
    return runs


def _cells(suite: SuiteConfig) -> Iterator[tuple[Cell, dict[str, Any]]]:
    for name, dataset in suite.datasets.items():
        for task in _tasks(name, dataset):
            for corruption in _corruptions(suite, name):
                for model_name, model in suite.models.items():
                    if model.datasets is not None and name not in model.datasets:
                        continue
                    for method_name, method in _methods(suite, model):
                        tree = merged(suite.run, dataset, *([method] if method else []), model)
                        if task is not None:
                            tree["data"]["task"] = task
                        if corruption is not None:
                            tree["data"]["corruption"] = corruption.model_dump(mode="json")
                        cell = Cell(model_name, name, method_name, task, corruption)
                        yield from _studied(suite, cell, tree)


def _tasks(name: str, dataset: SuiteDataset) -> list[str | None]:
    if dataset.tasks is None:
        return [dataset.data.get("task")]
    if "task" in dataset.data:
        raise UserError(f"datasets.{name} has tasks and data.task; leave one of them out")
    return list(TASKS) if dataset.tasks == "all" else list(dataset.tasks)


def _corruptions(suite: SuiteConfig, name: str) -> list[CorruptionConfig | None]:
    """None, for the pictures as they are, and then each corruption of them."""
    chosen = suite.corruptions
    if chosen is None or name not in chosen.of:
        return [None]
    damaged = [
        CorruptionConfig(kind=kind, strength=strength)
        for kind in chosen.kinds
        for strength in chosen.strengths
    ]
    return [None, *damaged]


def _methods(suite: SuiteConfig, model: SuitePart) -> list[tuple[str, SuitePart | None]]:
    """The rows of a model: a baseline has one."""
    family = FAMILIES.get(str(model.model.get("family", "stable-diffusion")))
    if family is not None and family.method == BASELINE:
        return [(BASELINE, None)]
    return list(suite.methods.items())


def _studied(
    suite: SuiteConfig, cell: Cell, tree: dict[str, Any]
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """The cell, or one of it for each template, and one for all of them."""
    if suite.templates is None:
        yield cell, tree
        return
    for template in suite.templates:
        alone = {**tree["prompts"], "templates": [template]}
        yield replace(cell, template=template), {**tree, "prompts": alone}
    together = {**tree["prompts"], "templates": suite.templates}
    yield replace(cell, together=True), {**tree, "prompts": together}


def merged(*parts: SuitePart) -> dict[str, Any]:
    """The sections of several parts as one tree: a later part's key goes before an earlier one's.

    Another method or rule starts from nothing.
    """
    tree: dict[str, Any] = {"data": {}, "prompts": {}}
    for part in parts:
        for name in SuitePart.model_fields:
            value = getattr(part, name)
            if not isinstance(value, Mapping):
                tree |= {} if value is None else {name: value}
            elif value:
                tree[name] = _section(name, tree.get(name, {}), value)
    return tree


def _section(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    tag = _TAGS.get(name)
    if tag is not None and now.get(tag, before.get(tag)) != before.get(tag):
        return dict(now)
    return {**before, **now}


def _path(cell: Cell) -> list[str]:
    """The folders of a cell's output."""
    dataset = [cell.dataset]
    if cell.task is not None:
        dataset.append(cell.task.replace("|", "-given-").replace(",", "-and-"))
    if cell.corruption is not None:
        dataset.append(f"{cell.corruption.kind}-{cell.corruption.strength}")
    study = [cell.template] if cell.template else ["all-templates"] if cell.together else []
    return [*dataset, cell.model, cell.method, *study]


def _folder(text: str) -> str:
    """A name for a folder; a template's words, and a hash where others may have the same."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
    if plain == text:
        return plain
    from hashlib import blake2b

    return f"{plain[:40]}-{blake2b(text.encode(), digest_size=3).hexdigest()}"


def chance_of(plan: Plan) -> float:
    """Return the accuracy of guessing among an image's classes; a screen's choice is not a
    guess."""
    candidates = plan.race.candidates
    captioned = candidates is not None and not candidates.screened
    return 1 / (plan.race.n_racing if captioned else len(plan.classes.names))


def result_of(
    cell: Cell, plan: Plan, status: str, totals: Mapping[str, Any], run_id: str | None
) -> CellResult:
    """Return the result of a finished or unfinished run, from its totals."""
    data = plan.config.data
    by_class = data.is_named and spec_of(data.source).metric == "mean-per-class"
    value = "class_accuracy" if by_class else "accuracy"
    labelled, correct = totals.get("labelled", 0), totals.get("correct", 0)
    chance = chance_of(plan)
    n_done = totals.get("images", 0) - totals.get("errors", 0)
    whole = status == "finished"
    return CellResult(
        cell=cell,
        path=plan.output.path,
        status=status,
        metric="mean-per-class" if by_class else "accuracy",
        value=totals.get(value),
        low=totals.get(f"{value}_low"),
        high=totals.get(f"{value}_high"),
        correct=correct,
        images=labelled,
        errors=totals.get("errors", 0),
        chance=chance,
        p_chance=beats_chance(correct, labelled, chance) if labelled else None,
        evaluations_per_image=totals.get("evaluations_per_image"),
        seconds=totals.get("seconds"),
        mlflow_run_id=run_id,
        reason=None if whole else f"{n_done:,} of {plan.n_images:,} images were classified",
    )
