"""The plan of a run: everything that is decided before a process or a GPU starts."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.run import ResolvedConfig
from zsd_ray.data.dataset import ImageDataset, choose_share, spread
from zsd_ray.data.labels.class_tree import ClassTree
from zsd_ray.data.labels.classes import ClassList
from zsd_ray.data.record_table import RecordTable
from zsd_ray.models.registry import ResolvedModel
from zsd_ray.planning.estimate import Bounds
from zsd_ray.planning.race import Race
from zsd_ray.records.cost import Cost, RunSize
from zsd_ray.records.redaction import redacted
from zsd_ray.records.scores import ImageState
from zsd_ray.results.output import Output
from zsd_ray.results.rows.checkpoint import Checkpoint
from zsd_ray.results.run_file import RunFile
from zsd_ray.results.stored import Repairs
from zsd_ray.rules.rule import Pruning, Rule
from zsd_ray.scheduling.beginning import Beginning
from zsd_ray.scheduling.counters import Counters
from zsd_ray.scheduling.scheduler import Scheduler
from zsd_ray.stats.class_offset import SCALE_DRAWS
from zsd_ray.storage.store import Store

N_TRACED = 24
"""Images whose raw draws are kept for the report to choose from, whatever the output keeps."""


@dataclass(frozen=True)
class Plan:
    """A checked run.

    model: its files, as the planning process found them.
    records: the data set's images with labels as class numbers (None: unlabelled).
    todo: numbers of the images to decide; n_done: images that the output holds already.
    again: ids of images that an earlier session gave up, which are retried.
    race: the inputs of each image's race; the stages of a run complete it.
    tree: the class tree whose levels, each a stage, choose the candidates.
    session: a name for this attempt at the run.
    previous: the run.json that this run continues, if any.
    repairs: damage in the output that is repaired first.
    """

    config: ResolvedConfig
    model: ResolvedModel
    dataset: ImageDataset
    records: RecordTable
    classes: ClassList
    prompts: list[str]
    todo: array[int]
    n_done: int
    output: Output
    identity: str
    identity_parts: dict[str, Any]
    again: frozenset[str]
    session: str
    previous: RunFile | None
    race: Race
    repairs: Repairs
    tree: ClassTree | None = None

    @property
    def store(self) -> Store:
        """The store for everything that the run reads and writes."""
        return self.output.store

    @property
    def n_images(self) -> int:
        """The number of images in the output when this run has ended."""
        return self.n_done + len(self.todo)

    @property
    def nothing_to_do(self) -> bool:
        """Whether an earlier session finished all images and recorded that."""
        return self._ended and not self.todo and not self.repairs

    @property
    def has_work(self) -> bool:
        """Return whether a stage has any work; one without images has none."""
        return bool(self.todo or self.repairs or (self.n_images and not self._ended))

    @property
    def _ended(self) -> bool:
        return self.previous is not None and self.previous.status in ("finished", "incomplete")

    @property
    def n_templates(self) -> int:
        return len(self.config.prompts.templates)

    @property
    def rule(self) -> Rule:
        """Return the pruning rule of every image."""
        return self._pruning.make(self.race.n_racing)

    @property
    def _pruning(self) -> Pruning:
        """Return the pruning; with a class offset the first look waits for an image's scale."""
        pruning: Pruning = self.config.pruning
        return pruning.not_before(SCALE_DRAWS) if self.has_offset else pruning

    @property
    def has_offset(self) -> bool:
        """Whether the method wants a class offset, known or not yet."""
        method = self.config.method
        return isinstance(method, DiffusionClassifierMethod) and method.class_offset is not None

    @property
    def size(self) -> RunSize:
        """The properties that a score's cost depends on."""
        return self.config.size(len(self.classes.names))

    @property
    def cost(self) -> Cost:
        """The cost of scores."""
        return self.config.method.cost(self.size)

    @property
    def evaluations_per_batch(self) -> int:
        """Evaluations per forward: a classifier's rows are images, each with all its classes."""
        config = self.config
        return config.method.evaluations_per_batch(config.cluster.rows, self.size)

    @property
    def bounds(self) -> Bounds:
        """Return the bounds of the run's cost before anything is scored."""
        config, rule = self.config, self.rule
        fewest, most = self._race_sizes()
        n_audit = 0
        if config.screen is not None:
            n_audit = len(choose_share(self.records, self.todo, config.screen.audit, config.seed))
        return Bounds(
            output=redacted(config.output.path),
            n_listed=len(self.records),
            n_images=self.n_images,
            n_done=self.n_done,
            n_todo=len(self.todo),
            n_classes=len(self.classes.names),
            n_templates=self.n_templates,
            n_prompts=len(self.prompts),
            min_workers=config.cluster.workers.min,
            max_workers=config.cluster.workers.max,
            gpus_per_worker=config.cluster.gpus_per_worker,
            least=rule.next_look(0) * sum(self.cost.of_draw(n) for n in fewest if n),
            most=rule.max_draws * sum(self.cost.of_draw(n) for n in most if n),
            n_audit=n_audit,
            audit_least=rule.next_look(0) * self.cost.of_draw(self.race.n_racing),
            audit_most=rule.max_draws * self.cost.of_draw(self.race.n_racing),
            hashed=tuple(redacted(self.model.hashed)),
        )

    def _race_sizes(self) -> tuple[list[int], list[int]]:
        """Return the least and most classes scored per image, at each level of a tree."""
        if self.tree is not None:
            assert self.config.screen is not None
            return self.tree.race_sizes(self.config.screen.top)
        candidates = self.race.candidates
        if candidates is None or not self.todo:
            return [len(self.classes.names)], [len(self.classes.names)]
        counts = candidates.counts(self.todo)
        counts[counts == 1] = 0  # a single class is not scored
        return [int(counts.min())], [int(counts.max())]

    def scheduler(self, shard: int = 0, n_shards: int = 1, first_id: int = 0) -> Scheduler:
        """Return the scheduler of a share of the images, made from `beginning`."""
        return self.beginning(shard, n_shards, first_id).scheduler()

    def beginning(self, shard: int = 0, n_shards: int = 1, first_id: int = 0) -> Beginning:
        """Return the initial state of a share's scheduler, resumed from the output's contents.

        It may be called again during a session: rows and checkpoints are read anew.
        """
        share = self.todo[shard::n_shards]
        columns = ["image_id", "label", "prediction", "error", "n_evaluations", "n_spent"]
        table = self.output.read_table("decisions", columns, len(self.classes.names))
        rows = table.to_pylist()
        rows = [row for row in rows if row["image_id"] not in self.again]
        numbers = self._numbers_in(share, [row["image_id"] for row in rows])
        rows = [row for row in rows if row["image_id"] in numbers]
        done = set(numbers.values())
        checkpoints = self._checkpoints()
        saved = [state for checkpoint in checkpoints for state in checkpoint.states]
        numbers = self._numbers_in(share, [state.image_id for state in saved])
        traced = frozenset(number for number, _ in traced_images(self.records))
        keep_all_raw = self.config.output.raw_scores
        states: dict[int, ImageState] = {}
        for state in sorted(saved, key=lambda state: state.n_draws):
            number = numbers.get(state.image_id)
            if number is None or number in done:
                continue
            states[number] = state  # of two, the one with more draws
        saved_counts = [c.counters for c in checkpoints if c.writer == f"{self.session}/{shard}"]
        return Beginning(
            records=self.records,
            images=array("i", (n for n in share if n not in done and n not in states)),
            pruning=self._pruning,
            n_racing=self.race.n_racing,
            n_classes=len(self.classes.names),
            cost=self.cost,
            traced=traced,
            keep_all_raw=keep_all_raw,
            states=states,
            first_id=first_id,
            counters=Counters.of_session(rows, saved_counts),
            **self.race.of_images(share),
        )

    def _checkpoints(self) -> list[Checkpoint]:
        """Return the last checkpoints of this run's schedulers; raises DamagedFile."""
        found = []
        for part in self.output.part_names("checkpoints"):
            shown = self.output.shown(f"checkpoints/{part}")
            content = self.output.read_checkpoint(part)
            found.append(Checkpoint.read(content, shown, self.identity, len(self.classes.names)))
        return found

    def _numbers_in(self, share: array[int], ids: Sequence[str]) -> dict[str, int]:
        """Return the number of each of `ids` that is in a share."""
        numbers = self.records.numbers_of(ids)
        mine = np.isin(numbers, np.asarray(share))
        return {ids[i]: int(numbers[i]) for i in np.flatnonzero(mine).tolist()}

    def checkpoint(self, scheduler: Scheduler, shard: int = 0) -> Checkpoint:
        """Return the checkpoint from which this share's next scheduler resumes."""
        counters = asdict(scheduler.counters)
        writer = f"{self.session}/{shard}"
        return Checkpoint(scheduler.states(), writer, counters, self.identity)


def traced_images(records: RecordTable) -> list[tuple[int, str]]:
    """Return the numbers and ids of the images whose draws are kept for the report.

    Chosen among all, so that a resumed run traces the same ones; any limit takes these first.
    """
    ids = enumerate(record.image_id for record in records)
    return heapq.nsmallest(N_TRACED, ids, key=lambda numbered: spread(numbered[1]))
