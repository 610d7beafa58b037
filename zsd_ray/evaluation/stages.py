"""What a run with a screen does before it decides: its tree's levels, and its audit.

Each is a run of its own, with the same model, method and rule, in a folder of the run's output; so
it spreads over the cluster, goes on after an interruption and can be looked at like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zsd_ray.config.run import RunConfig
from zsd_ray.config.screen import ScreenConfig
from zsd_ray.data.dataset import choose_share, choose_subset
from zsd_ray.data.labels.class_tree import Level
from zsd_ray.data.labels.classes import ClassList
from zsd_ray.planning.candidates import Screen
from zsd_ray.planning.plan import Plan, plan_stage, screened
from zsd_ray.results.audit import audit_path


def with_screen(plan: Plan, run: Callable[[Plan], object]) -> Plan:
    """Return the plan with its candidates, when its tree's levels and its audit are done.

    Args:
        run: called with the plan of each that is not.

    Raises:
        UserError: a folder of the output is another run's.
    """
    config = plan.config.screen
    if config is None:
        return plan
    if plan.tree is not None and plan.todo:
        plan = screened(plan, _descend(plan, config.top, run))
    if config.audit:
        _run_rest(_audit_plan(plan, config.audit), run)
    return plan


def _descend(plan: Plan, top: int, run: Callable[[Plan], object]) -> Screen:
    """Decide level after level of the tree, and return the last of them as a screen."""
    assert plan.tree is not None
    levels, screen = plan.tree.levels, None
    for number, level in enumerate(levels):
        stage = _level_plan(plan, number, screen)
        _run_rest(stage, run)
        is_last = level is levels[-1]
        group_of = level.of_class if is_last else levels[number + 1].groups_in(level)
        screen = Screen(
            output=stage.output,
            identity=stage.identity,
            model=stage.identity_parts["model"],
            n_classes=len(level.names),
            top=top,
            group_of=np.array(group_of, dtype=np.int32),
        )
    assert screen is not None
    return screen


def _run_rest(stage: Plan, run: Callable[[Plan], object]) -> None:
    ended = stage.previous is not None and stage.previous.status in ("finished", "incomplete")
    if stage.todo or stage.repairs or (stage.n_images and not ended):
        run(stage)


def _level_plan(plan: Plan, number: int, above: Screen | None) -> Plan:
    """A run over the groups of one level of the tree, screened by the level above it."""
    assert plan.tree is not None
    level = plan.tree.levels[number]
    screen = None if above is None else ScreenConfig(run=above.output.path, top=above.top, audit=0)
    config = _part_of(
        plan.config,
        plan.output.location(f"tree-{number + 1}"),
        prompts=plan.config.prompts.model_copy(update={"classes": list(level.names)}),
        screen=screen,
    )
    stage = plan_stage(
        config,
        plan.model,
        plan.dataset,
        _groups(plan.classes, level),
        choose_subset(plan.records, config.data.limit),
        None if above is None else above.identity_part,
    )
    return stage if above is None else screened(stage, above)


def _audit_plan(plan: Plan, share: float) -> Plan:
    """A run of a share of the images among all classes."""
    chosen = choose_subset(plan.records, plan.config.data.limit)
    return plan_stage(
        _part_of(plan.config, audit_path(plan.config.output.path), screen=None),
        plan.model,
        plan.dataset,
        plan.classes,
        choose_share(plan.records, chosen, share, plan.config.seed),
    )


def _part_of(config: RunConfig, path: str, **sections: Any) -> RunConfig:
    """The configuration of a stage: its own output, and no tracking beside that of the run."""
    return config.model_copy(
        update={
            "output": config.output.model_copy(update={"path": path}),
            "tracking": config.tracking.model_copy(update={"mlflow": "off"}),
            **sections,
        }
    )


def _groups(classes: ClassList, level: Level) -> ClassList:
    """The groups of a level as classes: a label of the data is the group of its class."""
    of_label = range(len(level.of_class)) if classes.of_label is None else classes.of_label
    groups = tuple(-1 if k < 0 else level.of_class[k] for k in of_label)
    return ClassList(level.names, groups)
