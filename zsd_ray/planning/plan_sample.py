"""The first classes of a plan, each with its labels, prompts and an image."""

from __future__ import annotations

from collections.abc import Mapping

from zsd_ray.config.run import RunConfig
from zsd_ray.data.captioned.captions import CaptionedDataset
from zsd_ray.data.catalogue import spec_of
from zsd_ray.data.labels.classes import fill_templates
from zsd_ray.planning.plan import Plan
from zsd_ray.records.redaction import redact
from zsd_ray.results.sample_file import DataLabel, PlanSample, ShownClass, ShownImage

N_SHOWN = 3


def plan_sample(plan: Plan, config: RunConfig) -> PlanSample:
    """Return the sample of a plan and of the user's configuration; reads no image.

    Raises:
        UserError: the model's files can no longer be read.
    """
    if isinstance(plan.dataset, CaptionedDataset):
        images = [_image(plan, plan.dataset, number) for number in _first_images(plan)]
        return PlanSample("the captions of each image", [], images)
    shown = range(min(N_SHOWN, len(plan.classes.names)))
    return PlanSample(_names_from(config), [_class(plan, number) for number in shown], [])


def _names_from(config: RunConfig) -> str:
    chosen, source = config.prompts.classes, config.data.source
    if isinstance(chosen, str):
        return f"prompts.classes {redact(chosen)}"
    if isinstance(chosen, Mapping):
        return "prompts.classes (a name for each label)"
    if chosen is not None:
        return "prompts.classes (a list)"
    if config.data.is_named:
        return f"the catalogue's list of {spec_of(source).title}"
    return f"the data itself (data.source {source})"


def _class(plan: Plan, number: int) -> ShownClass:
    n_templates, of_label = plan.n_templates, plan.classes.of_label
    prompts = plan.prompts[number * n_templates : (number + 1) * n_templates]
    labels = [number] if of_label is None else [i for i, c in enumerate(of_label) if c == number]
    names = plan.dataset.label_names
    first = plan.records.first_with(number)
    record = None if first is None else plan.records[first]
    return ShownClass(
        number=number,
        name=plan.classes.names[number],
        prompts=prompts,
        labels=[DataLabel(label, None if names is None else names[label]) for label in labels],
        model_labels=plan.model.label_numbers(prompts),
        n_images=plan.records.count_with(number),
        image_id=None if record is None else record.image_id,
        source=None if record is None else redact(record.source),
    )


def _first_images(plan: Plan) -> list[int]:
    return list(plan.todo[:N_SHOWN]) or list(range(min(N_SHOWN, len(plan.records))))


def _image(plan: Plan, dataset: CaptionedDataset, number: int) -> ShownImage:
    record, table = plan.records[number], dataset.captions
    own = [choice for choice in table.choices[number].tolist() if choice >= 0]
    captions = [table.texts[choice] for choice in own]
    return ShownImage(
        image_id=record.image_id,
        source=redact(record.source),
        captions=captions,
        prompts=fill_templates(captions, plan.config.prompts.templates),
        right=own.index(record.label) if record.label in own else None,
    )
