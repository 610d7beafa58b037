"""How a plan is made: a configuration checked against the model, the data and the output."""

from __future__ import annotations

import uuid
from array import array
from collections.abc import Sequence
from dataclasses import replace

from zsd_ray.config.algorithms import NoiseDenoiseMethod, NoiseDenoiseVoteMethod
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.identity import hash_of, identity_parts
from zsd_ray.config.method_section import Method
from zsd_ray.config.precision import as_before
from zsd_ray.config.run import ModelConfig, ResolvedConfig, RunConfig
from zsd_ray.data.captioned.captions import CaptionedDataset
from zsd_ray.data.dataset import ImageDataset, choose_subset
from zsd_ray.data.labels.class_tree import ClassTree, read_tree
from zsd_ray.data.labels.classes import ClassList, fill_templates, resolve_classes
from zsd_ray.models.registry import ResolvedModel, resolve_model
from zsd_ray.planning.candidates import Screen, open_screen
from zsd_ray.planning.defaults import with_defaults
from zsd_ray.planning.inputs import Inputs
from zsd_ray.planning.own_captions import as_candidates, identity_part, with_captions
from zsd_ray.planning.plan import Plan, traced_images
from zsd_ray.planning.race import Race
from zsd_ray.records.errors import StoreError, UserError, some
from zsd_ray.records.redaction import redact, redacted
from zsd_ray.results.job import refuse_other
from zsd_ray.results.output import Output
from zsd_ray.results.profile_file import read_profile
from zsd_ray.results.stored import look
from zsd_ray.stats.class_offset import SCALE_DRAWS
from zsd_ray.storage.store import Store


def make_plan(config: RunConfig, inputs: Inputs | None = None, store: Store | None = None) -> Plan:
    """Check a configuration against the model files, the data, the classes and the output.

    Nothing is written: a run calls `plan.output.prepare()` next.

    Args:
        inputs: shared with other plans; None: not shared.
        store: for all files, also of the run; None: as the storage section says.

    Raises:
        UserError: the first problem, in one line; nothing has been started.
    """
    store = store or Store(config.storage)
    resolved = _with_profile(with_defaults(_as_before(config, store)), store)
    _check_offset(resolved)
    inputs = inputs or Inputs(store)
    model = inputs.model(resolved.model)
    dataset = inputs.dataset(resolved.data)
    if isinstance(dataset, CaptionedDataset):
        _check_offset(resolved, captioned=True)
        resolved = with_captions(resolved)
        classes = ClassList(dataset.captions.texts, None)
    else:
        labels = [record.label for record in dataset.records]
        classes = resolve_classes(resolved.prompts.classes, dataset.label_names, labels, store)
    chosen = choose_subset(dataset.records, resolved.data.limit)
    if resolved.screen is None:
        return plan_stage(resolved, model, dataset, classes, chosen, store)
    if resolved.screen.tree is not None:
        tree = _checked_tree(
            resolved, model, resolved.screen.tree, resolved.screen.top, classes, store
        )
        return plan_stage(resolved, model, dataset, classes, chosen, store, tree=tree)
    assert resolved.screen.run is not None
    screen = open_screen(resolved.screen.run, resolved.screen.top, classes.names, store)
    return plan_stage(resolved, model, dataset, classes, chosen, store, screen)


def plan_stage(
    config: ResolvedConfig,
    model: ResolvedModel,
    dataset: ImageDataset,
    classes: ClassList,
    chosen: Sequence[int],
    store: Store,
    screen: Screen | None = None,
    tree: ClassTree | None = None,
) -> Plan:
    """Plan to classify some images among some classes: a run, or a stage of one.

    Args:
        config: with everything filled in.
        chosen: numbers of the images.
        screen: an earlier run, or the stage before, that chooses the candidates; tree: the class
            tree whose levels will choose them.

    Raises:
        UserError: the model cannot distinguish the classes, or the output is another run's.
    """
    prompts = fill_templates(classes.names, config.prompts.templates)
    model.check_prompts(prompts)
    model.check_abilities(config.method)
    clip = _clip(config.method, store)
    if config.method.null_prompt:
        model.check_null_prompt(*config.method.null_key)
    chooses = None if screen is None else screen.identity_part
    if tree is not None:
        assert config.screen is not None
        chooses = {"tree": tree.plain, "top": config.screen.top}
    parts = identity_parts(config, classes.names, classes.of_label, model.fingerprint, chooses)
    candidates = None
    if isinstance(dataset, CaptionedDataset):
        candidates = as_candidates(dataset.captions)
        parts["captions"] = identity_part(dataset.captions)
    if clip is not None:
        parts["method"]["clip"] = {"fingerprint": clip}
    output = Output(config.output.path, store)
    previous = output.read_run()
    advice = "--fresh starts over in a new place beside it, or choose another output.path"
    refuse_other(output, "another run", previous, parts, advice)
    if previous is None and output.part_names("decisions"):
        raise UserError(
            f"{redact(output.location('decisions'))} has rows, but there is no run.json that says "
            "what they are of; put it back, or choose another output.path"
        )
    records = dataset.records
    records = records.relabelled(classes.class_of(record.label) for record in records)
    identity = hash_of(parts)

    def traced() -> frozenset[str]:
        return frozenset(image_id for _, image_id in traced_images(records))

    try:
        stored = look(
            output, records, identity, len(classes.names), config.output.raw_scores, traced
        )
    except StoreError as error:
        raise UserError(f"output.path cannot be read: {error}") from error
    done = set(stored.done.tolist())
    n_racing = len(classes.names) if candidates is None else candidates.best.shape[1]
    plan = Plan(
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
        race=Race(n_racing, candidates),
        tree=tree,
    )
    return plan if screen is None else screened(plan, screen)


def _check_offset(config: RunConfig, captioned: bool = False) -> None:
    """Raise UserError if a class offset cannot be measured."""
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


def screened(plan: Plan, screen: Screen) -> Plan:
    """Return the plan with the candidates that a finished screen leaves.

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
    race = replace(plan.race, candidates=candidates, screen_evaluations=apart)
    return replace(plan, race=race)


def _checked_tree(
    config: ResolvedConfig,
    model: ResolvedModel,
    path: str,
    top: int,
    classes: ClassList,
    store: Store,
) -> ClassTree:
    """Read a tree, and check that the model can distinguish its groups."""
    tree = read_tree(path, classes.names, store)
    n_groups = len(tree.levels[0].names)
    if top >= n_groups:
        raise UserError(
            f"screen.top {top} leaves all of the {n_groups} groups at the top of the tree in; it "
            "must be less"
        )
    for number, level in enumerate(tree.levels, start=1):
        try:
            prompts = fill_templates(level.names, config.prompts.templates)
            model.check_prompts(prompts)
        except UserError as error:
            raise UserError(f"screen.tree, level {number}: {error}") from error
    return tree


def _clip(method: Method, store: Store) -> str | None:
    """Return the fingerprint of the model that measures an algorithm's distances, if any."""
    if not isinstance(method, NoiseDenoiseMethod | NoiseDenoiseVoteMethod) or not method.clip:
        return None
    try:
        clip = ModelConfig(family="clip", **method.clip.model_dump())
        return resolve_model(clip, store).fingerprint
    except UserError as error:
        raise UserError(f"method.clip: {error}") from error


def _as_before(config: RunConfig, store: Store) -> RunConfig:
    """Return the configuration with the dtype of the run in its output, if it names none."""
    previous = Output(config.output.path, store).read_run()
    return as_before(config, previous.identity_parts if previous else None)


def _with_profile(config: ResolvedConfig, store: Store) -> ResolvedConfig:
    """Replace the path in `method.profile` by the content of that file."""
    method = config.method
    if not isinstance(method, DiffusionClassifierMethod) or method.profile is None:
        return config
    profile = read_profile(method.profile, store)
    if profile is None:
        raise UserError(
            f"method.profile: there is no file {redact(method.profile)}; `zsd-ray fit` makes one"
        )
    try:
        method.check_fits(profile)
    except ValueError as error:
        raise UserError(f"method.profile {redact(method.profile)}: {error}") from error
    return config.model_copy(update={"method": method.with_profile(profile)})
