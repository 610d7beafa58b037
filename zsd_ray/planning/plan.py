"""Everything about a run that is settled before a process or a GPU starts."""

from __future__ import annotations

import heapq
import uuid
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from zsd_ray.config.algorithms import AlgorithmMethod, NoiseDenoiseMethod, NoiseDenoiseVoteMethod
from zsd_ray.config.identity import differences, hash_of, identity_parts
from zsd_ray.config.method import DiffusionClassifierMethod
from zsd_ray.config.precision import as_before
from zsd_ray.config.run import ModelConfig, RunConfig
from zsd_ray.data.captioned.captions import CaptionedDataset
from zsd_ray.data.dataset import ImageDataset, choose_share, choose_subset, spread
from zsd_ray.data.labels.class_tree import ClassTree, read_tree
from zsd_ray.data.labels.classes import ClassList, fill_templates, resolve_classes
from zsd_ray.data.record_table import RecordTable
from zsd_ray.models.registry import ResolvedModel, resolve_model
from zsd_ray.planning.candidates import CandidateTable, Screen, open_screen
from zsd_ray.planning.defaults import with_defaults
from zsd_ray.planning.estimate import Bounds
from zsd_ray.planning.inputs import Inputs
from zsd_ray.planning.own_captions import as_candidates, identity_part, with_captions
from zsd_ray.records.errors import StoreError, UserError, some
from zsd_ray.records.redaction import redact, redacted
from zsd_ray.records.scores import ImageState
from zsd_ray.results.checkpoint import Checkpoint
from zsd_ray.results.output import Output
from zsd_ray.results.profile_file import read_profile
from zsd_ray.results.run_file import RunFile
from zsd_ray.results.stored import Repairs, look
from zsd_ray.rules.rule import Rule
from zsd_ray.scheduling.counters import Counters
from zsd_ray.scheduling.packer import Cost
from zsd_ray.scheduling.scheduler import Scheduler
from zsd_ray.scoring.cost import UNMEASURED, cost_of, evaluations_per_batch
from zsd_ray.stats.class_offset import SCALE_DRAWS, ClassOffset

N_TRACED = 24
"""Images whose raw draws are kept for the report to choose from, whatever the output keeps."""


@dataclass(frozen=True)
class Plan:
    """A checked run.

    model: its files, as the planning process found them.
    records: the data set's images with labels as class numbers (None: unlabelled).
    todo: numbers of the images to decide; n_done: images that the output holds already.
    again: ids of images that an earlier session gave up, which are tried again.
    tree: whose levels choose the candidates, each as a run of its own.
    n_racing: classes in an image's race without a screen, at most: all, or its own captions.
    candidates: of each image, once they are known; None: no screen, or not yet.
    screen_evaluations: of an image, where the screen is another model's.
    offset: what is taken out of the scores; None: nothing, or it is not measured yet.
    session: a name for this attempt at the run.
    previous: the run.json that this run continues, if any.
    repairs: what has to be put right in the output first.
    """

    config: RunConfig
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
    n_racing: int
    repairs: Repairs = Repairs()  # noqa: RUF009 - it is frozen
    tree: ClassTree | None = None
    candidates: CandidateTable | None = None
    screen_evaluations: float | None = None
    offset: ClassOffset | None = None

    @property
    def n_images(self) -> int:
        """Images of the output when this run has ended."""
        return self.n_done + len(self.todo)

    @property
    def nothing_to_do(self) -> bool:
        """Whether an earlier session has done all of it, and has said so."""
        ended = self.previous is not None and self.previous.status in ("finished", "incomplete")
        return ended and not self.todo and not self.repairs

    @property
    def n_templates(self) -> int:
        return len(self.config.prompts.templates)

    @property
    def rule(self) -> Rule:
        """Of every image. With a class offset its first look waits for what tells its scale."""
        pruning = self.config.pruning
        if self.has_offset:
            pruning = pruning.not_before(SCALE_DRAWS)
        return pruning.make(self.n_racing)

    @property
    def has_offset(self) -> bool:
        """Whether the method wants a class offset, known or not yet."""
        method = self.config.method
        return isinstance(method, DiffusionClassifierMethod) and method.class_offset is not None

    @property
    def cost(self) -> Cost:
        """Of a score."""
        return cost_of(self.config, len(self.classes.names))

    @property
    def evaluations_per_batch(self) -> int:
        """Of one forward: a classifier's rows are images, each with all its classes."""
        chosen = self.config.cluster.batch_size
        rows = UNMEASURED if chosen == "auto" else chosen
        return evaluations_per_batch(self.config, rows, len(self.classes.names))

    @property
    def bounds(self) -> Bounds:
        """What is known of the run before anything is scored."""
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
            audit_least=rule.next_look(0) * self.cost.of_draw(self.n_racing),
            audit_most=rule.max_draws * self.cost.of_draw(self.n_racing),
            hashed=tuple(redacted(self.model.hashed)),
        )

    def _race_sizes(self) -> tuple[list[int], list[int]]:
        """The fewest and the most classes that are scored for an image, at each level of a tree."""
        if self.tree is not None:
            assert self.config.screen is not None
            return self.tree.race_sizes(self.config.screen.top)
        if self.candidates is None or not self.todo:
            return [len(self.classes.names)], [len(self.classes.names)]
        counts = self.candidates.counts(self.todo)
        counts[counts == 1] = 0  # a class alone is not scored
        return [int(counts.min())], [int(counts.max())]

    def scheduler(self, shard: int = 0, n_shards: int = 1, first_id: int = 0) -> Scheduler:
        """A scheduler of its share of the images, going on from what the output holds by now.

        It may be made again in the middle of a session: rows and checkpoints are read anew.
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
        traced = frozenset(number for number, _ in _traced(self.records))
        keep_all_raw = self.config.output.raw_scores
        states: dict[int, ImageState] = {}
        for state in sorted(saved, key=lambda state: state.n_draws):
            number = numbers.get(state.image_id)
            if number is None or number in done:
                continue
            states[number] = state  # of two, the one that knows more
        scheduler = Scheduler(
            records=self.records,
            images=array("i", (n for n in share if n not in done and n not in states)),
            rule=self.rule,
            n_classes=len(self.classes.names),
            cost=self.cost,
            traced=traced,
            keep_all_raw=keep_all_raw,
            states=states,
            first_id=first_id,
            **self._of_images(share),
        )
        scheduler.counters = Counters.of_session(
            rows, [c.counters for c in checkpoints if c.writer == f"{self.session}/{shard}"]
        )
        return scheduler

    def _of_images(self, share: array[int]) -> dict[str, Any]:
        """What the scheduler of a share is told of the class offset, and of the screen."""
        told: dict[str, Any] = {} if self.offset is None else {"offset": self.offset.of}
        if self.candidates is not None:
            counts = self.candidates.counts(share)
            told |= {"candidates": self.candidates.of, "classes_each": float(counts.mean())}
        return told

    def _checkpoints(self) -> list[Checkpoint]:
        """What the schedulers of this run knew last; raises DamagedFile."""
        found = []
        for part in self.output.part_names("checkpoints"):
            shown = self.output.shown(f"checkpoints/{part}")
            content = self.output.read_checkpoint(part)
            found.append(Checkpoint.read(content, shown, self.identity, len(self.classes.names)))
        return found

    def _numbers_in(self, share: array[int], ids: Sequence[str]) -> dict[str, int]:
        """The number of each of `ids` that is in a share."""
        numbers = self.records.numbers_of(ids)
        mine = np.isin(numbers, np.asarray(share))
        return {ids[i]: int(numbers[i]) for i in np.flatnonzero(mine).tolist()}

    def checkpoint(self, scheduler: Scheduler, shard: int = 0) -> Checkpoint:
        """What the next scheduler of this share goes on from."""
        counters = asdict(scheduler.counters)
        writer = f"{self.session}/{shard}"
        return Checkpoint(scheduler.states(), writer, counters, self.identity)


def make_plan(config: RunConfig, inputs: Inputs | None = None) -> Plan:
    """Check a configuration against the world: model files, data, classes, what the output holds.

    Nothing is written: `plan.output.prepare()` is what a run does next.

    Args:
        inputs: what other plans have read; None: nothing.

    Raises:
        UserError: what is wrong, in one line; nothing has been started.
    """
    config = _with_profile(with_defaults(_as_before(config)))
    _check_offset(config)
    inputs = inputs or Inputs()
    model = inputs.model(config.model)
    dataset = inputs.dataset(config.data)
    if isinstance(dataset, CaptionedDataset):
        _check_offset(config, captioned=True)
        config = with_captions(config)
        classes = ClassList(dataset.captions.texts, None)
    else:
        labels = [record.label for record in dataset.records]
        classes = resolve_classes(config.prompts.classes, dataset.label_names, labels)
    chosen = choose_subset(dataset.records, config.data.limit)
    if config.screen is None:
        return plan_stage(config, model, dataset, classes, chosen)
    if config.screen.tree is not None:
        tree = _checked_tree(config, model, config.screen.tree, config.screen.top, classes)
        part = {"tree": tree.plain, "top": config.screen.top}
        return replace(plan_stage(config, model, dataset, classes, chosen, part), tree=tree)
    assert config.screen.run is not None
    screen = open_screen(config.screen.run, config.screen.top, classes.names)
    plan = plan_stage(config, model, dataset, classes, chosen, screen.identity_part)
    return screened(plan, screen)


def plan_stage(
    config: RunConfig,
    model: ResolvedModel,
    dataset: ImageDataset,
    classes: ClassList,
    chosen: Sequence[int],
    screen: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan to decide some images among some classes: a run, or what a run does before.

    Args:
        config: with everything filled in.
        chosen: numbers of the images.
        screen: as `identity_parts` takes it.

    Raises:
        UserError: the model cannot tell the classes apart, or the output is another run's.
    """
    assert not isinstance(config.prompts.templates, str)
    prompts = fill_templates(classes.names, config.prompts.templates)
    model.check_prompts(prompts)
    clip = None
    if isinstance(config.method, AlgorithmMethod):
        model.check_abilities(config.method)
        clip = _clip(config.method)
        if config.method.null_prompt:
            model.check_null_prompt("method.guidance_scale", "1.0")
    elif config.method.null_prompt:
        model.check_null_prompt()
    parts = identity_parts(config, classes.names, classes.of_label, model.fingerprint, screen)
    candidates = None
    if isinstance(dataset, CaptionedDataset):
        candidates = as_candidates(dataset.captions)
        parts["captions"] = identity_part(dataset.captions)
    if clip is not None:
        parts["method"]["clip"] = {"fingerprint": clip}
    output = Output(config.output.path)
    previous = output.read_run()
    if previous is not None and previous.identity != hash_of(parts):
        changes = "; ".join(differences(previous.identity_parts, redacted(parts)))
        raise UserError(
            f"output.path {redacted(config.output.path)} belongs to another run ({changes}); "
            "--fresh starts over in a new place beside it, or choose another output.path"
        )
    if previous is None and output.part_names("decisions"):
        raise UserError(
            f"{redact(output.location('decisions'))} has rows, but there is no run.json that says "
            "what they are of; put it back, or choose another output.path"
        )
    records = dataset.records
    records = records.relabelled(classes.class_of(record.label) for record in records)
    identity = hash_of(parts)

    def traced() -> frozenset[str]:
        return frozenset(image_id for _, image_id in _traced(records))

    try:
        stored = look(
            output, records, identity, len(classes.names), config.output.raw_scores, traced
        )
    except StoreError as error:
        raise UserError(f"output.path cannot be read: {error}") from error
    done = set(stored.done.tolist())
    return Plan(
        config=config,
        model=model,
        dataset=dataset,
        records=records,
        classes=classes,
        prompts=prompts,
        todo=array("i", (number for number in chosen if number not in done)),
        n_done=len(done),
        output=output,
        identity=identity,
        identity_parts=redacted(parts),
        again=stored.again,
        session=uuid.uuid4().hex[:12],
        previous=previous,
        repairs=stored.repairs,
        n_racing=len(classes.names) if candidates is None else candidates.best.shape[1],
        candidates=candidates,
    )


def _check_offset(config: RunConfig, captioned: bool = False) -> None:
    """Raise UserError where a class offset cannot be had."""
    method = config.method
    if not isinstance(method, DiffusionClassifierMethod) or method.class_offset is None:
        return
    if captioned or config.screen is not None:
        what = "images with captions of their own" if captioned else "a screen"
        raise UserError(
            f"method.class_offset is measured over all classes of a run, and does not go with "
            f"{what}; remove one"
        )
    try:
        config.pruning.not_before(SCALE_DRAWS)
    except ValueError as error:
        raise UserError(f"method.class_offset {error}; give it more draws") from error


def _traced(records: RecordTable) -> list[tuple[int, str]]:
    """The numbers and ids of the images whose draws are kept for the report.

    Chosen among all, so that a resumed run traces the same ones; any limit takes these first.
    """
    ids = enumerate(record.image_id for record in records)
    return heapq.nsmallest(N_TRACED, ids, key=lambda numbered: spread(numbered[1]))


def screened(plan: Plan, screen: Screen) -> Plan:
    """The plan with the candidates that a screen leaves.

    Raises:
        UserError: the screen's decisions cannot be read, or images are missing.
    """
    candidates = screen.candidates(plan.records, plan.identity_parts["model"])
    missing = [number for number in plan.todo if not candidates.listed[number]]
    if missing:
        ids = [plan.records[number].image_id for number in missing[:4]]
        raise UserError(
            f"the screen {redact(screen.output.path)} has no row of {len(missing)} of this run's "
            f"{plan.n_images} images ({some(ids)}); run it over all of them (data.limit) first"
        )
    same_model = candidates.n_evaluations is not None
    apart = None if same_model else screen.evaluations_per_image
    return replace(plan, candidates=candidates, screen_evaluations=apart)


def _checked_tree(
    config: RunConfig, model: ResolvedModel, path: str, top: int, classes: ClassList
) -> ClassTree:
    """Read a tree, and check that the model can tell its groups apart."""
    tree = read_tree(path, classes.names)
    n_groups = len(tree.levels[0].names)
    if top >= n_groups:
        raise UserError(
            f"screen.top {top} leaves all of the {n_groups} groups at the top of the tree in; it "
            "must be less"
        )
    for number, level in enumerate(tree.levels, start=1):
        try:
            model.check_prompts(fill_templates(level.names, list(config.prompts.templates)))
        except UserError as error:
            raise UserError(f"screen.tree, level {number}: {error}") from error
    return tree


def _clip(method: AlgorithmMethod) -> str | None:
    """The fingerprint of the model that measures an algorithm's distances, if one does."""
    if not isinstance(method, NoiseDenoiseMethod | NoiseDenoiseVoteMethod) or not method.clip:
        return None
    try:
        return resolve_model(ModelConfig(family="clip", **method.clip.model_dump())).fingerprint
    except UserError as error:
        raise UserError(f"method.clip: {error}") from error


def _as_before(config: RunConfig) -> RunConfig:
    """In the dtype of the run that its output holds, where the configuration names none."""
    previous = Output(config.output.path).read_run()
    return as_before(config, previous.identity_parts if previous else None)


def _with_profile(config: RunConfig) -> RunConfig:
    """Put the content of the file `method.profile` in its place."""
    method = config.method
    if isinstance(method, AlgorithmMethod) or method.profile is None:
        return config
    profile = read_profile(method.profile)
    if profile is None:
        raise UserError(
            f"method.profile: there is no file {redact(method.profile)}; `zsd-ray fit` makes one"
        )
    try:
        method.check_fits(profile)
    except ValueError as error:
        raise UserError(f"method.profile {redact(method.profile)}: {error}") from error
    return config.model_copy(update={"method": method.with_profile(profile)})
