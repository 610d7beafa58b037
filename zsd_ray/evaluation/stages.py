"""The stages of a run before its own images are decided: a class offset, a tree's levels, an audit.

Each is a run of its own, with the same model and method, in a folder of the run's output; so it
spreads over the cluster, resumes after an interruption and can be inspected like any other. A stage
is planned when the one before it is done, and its results go into the `Race` of the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from zsd_ray.analysis.offset_of_run import OFFSET_FOLDER, offset_of
from zsd_ray.analysis.saved_run import open_run
from zsd_ray.analysis.saved_scores import read_scores
from zsd_ray.config.classifier_method import ClassOffsetConfig
from zsd_ray.config.run import ResolvedConfig
from zsd_ray.config.screen import ScreenConfig
from zsd_ray.data.dataset import choose_share, choose_subset
from zsd_ray.data.labels.class_tree import Level
from zsd_ray.data.labels.classes import ClassList
from zsd_ray.planning.candidates import Screen
from zsd_ray.planning.inputs import Inputs
from zsd_ray.planning.make_plan import make_plan, plan_stage, screened
from zsd_ray.planning.plan import Plan
from zsd_ray.planning.race import Race
from zsd_ray.results.audit import audit_path
from zsd_ray.results.offset_file import OffsetRecord, write_offset
from zsd_ray.rules.every_draw import NoPruning


class Stage(Protocol):
    """A run that another run needs before it or beside it."""

    def plan(self, run: Plan, before: Plan | None) -> Plan:
        """Plan this stage.

        Args:
            run: the run that it belongs to; before: the finished stage before it.

        Raises:
            UserError: its folder of the output is another run's.
        """

    def found(self, run: Plan, own: Plan) -> Race:
        """Return the run's races, updated with the results of this finished stage.

        Raises:
            UserError: too few of its images could be scored.
        """


def stages_of(plan: Plan) -> Iterator[Stage]:
    """The stages of a run, in order."""
    screen = plan.config.screen
    if plan.has_offset:
        section = plan.config.draw_method.class_offset
        assert section is not None
        yield OffsetStage(section)
    if plan.tree is not None and plan.todo:
        assert screen is not None
        last = len(plan.tree.levels) - 1
        for number in range(last + 1):
            yield LevelStage(number, screen.top, number == last)
    if screen is not None and screen.audit:
        yield AuditStage(screen.audit)


@dataclass(frozen=True)
class OffsetStage:
    """Measures the class offset on images that are scored for all classes.

    They are the first of the run's own images (those of `data.limit`). Nothing is fitted to a
    label, and an image's own scores never enter the offset that it is decided with.
    """

    section: ClassOffsetConfig

    def plan(self, run: Plan, before: Plan | None) -> Plan:
        config, n_images = run.config, self.section.images
        return make_plan(
            _part_of(
                config,
                f"{config.output.path.rstrip('/')}/{OFFSET_FOLDER}",
                raw_scores=True,
                method=config.method.model_copy(update={"class_offset": None}),
                pruning=NoPruning(rule="none", draws=self.section.draws),
                data=config.data.model_copy(
                    update={"limit": min(n_images, config.data.limit or n_images)}
                ),
            ),
            Inputs(run.store, [run.model]),
            store=run.store,
        )

    def found(self, run: Plan, own: Plan) -> Race:
        saved = open_run(own.config.output.path, run.store)
        offset = offset_of(saved, read_scores(saved), run.config.draw_method)
        evaluations = saved.record.totals["n_evaluations"]
        write_offset(run.output, OffsetRecord.of(offset, run.classes.names, evaluations))
        return replace(run.race, offset=offset)


@dataclass(frozen=True)
class LevelStage:
    """Classifies among the groups of one level of a tree, screened by the level above it.

    number: of the level, from 0; top: groups that stay; last: whether the classes are below it.
    """

    number: int
    top: int
    last: bool

    def plan(self, run: Plan, before: Plan | None) -> Plan:
        level = _level(run, self.number)
        above = None if self.number == 0 or before is None else self._above(run, before)
        screen = None
        if above is not None:
            screen = ScreenConfig(run=above.output.path, top=above.top, audit=0)
        config = _part_of(
            run.config,
            run.output.location(f"tree-{self.number + 1}"),
            prompts=run.config.prompts.model_copy(update={"classes": list(level.names)}),
            screen=screen,
        )
        chosen = choose_subset(run.records, config.data.limit)
        groups = _groups(run.classes, level)
        return plan_stage(config, run.model, run.dataset, groups, chosen, run.store, above)

    def found(self, run: Plan, own: Plan) -> Race:
        if not self.last:
            return run.race  # the next level reads it
        level = _level(run, self.number)
        return screened(run, self._screen(own, level, level.of_class)).race

    def _above(self, run: Plan, before: Plan) -> Screen:
        level = _level(run, self.number - 1)
        return self._screen(before, level, _level(run, self.number).groups_in(level))

    def _screen(self, stage: Plan, level: Level, group_of: Any) -> Screen:
        """Return a finished level as the screen that chooses the candidates of the next."""
        return Screen(
            output=stage.output,
            identity=stage.identity,
            model=stage.identity_parts["model"],
            n_classes=len(level.names),
            top=self.top,
            group_of=np.array(group_of, dtype=np.int32),
        )


@dataclass(frozen=True)
class AuditStage:
    """Scores a share of the images for all classes, to measure how often the screen loses the
    right decision."""

    share: float

    def plan(self, run: Plan, before: Plan | None) -> Plan:
        config = run.config
        chosen = choose_subset(run.records, config.data.limit)
        return plan_stage(
            _part_of(config, audit_path(config.output.path), screen=None),
            run.model,
            run.dataset,
            run.classes,
            choose_share(run.records, chosen, self.share, config.seed),
            run.store,
        )

    def found(self, run: Plan, own: Plan) -> Race:
        return run.race


def _level(run: Plan, number: int) -> Level:
    assert run.tree is not None
    return run.tree.levels[number]


def _part_of(
    config: ResolvedConfig, path: str, raw_scores: bool | None = None, **sections: Any
) -> ResolvedConfig:
    """Return the configuration of a stage: its own output, and no tracking of its own."""
    output = {"path": path} | ({} if raw_scores is None else {"raw_scores": raw_scores})
    return config.model_copy(
        update={
            "output": config.output.model_copy(update=output),
            "tracking": config.tracking.model_copy(update={"mlflow": "off"}),
            **sections,
        }
    )


def _groups(classes: ClassList, level: Level) -> ClassList:
    """Return the groups of a level as classes: a label of the data is the group of its class."""
    of_label = range(len(level.of_class)) if classes.of_label is None else classes.of_label
    groups = tuple(-1 if k < 0 else level.of_class[k] for k in of_label)
    return ClassList(level.names, groups)
