"""Everything about a run that is settled before a process or a GPU starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from zsd_ray.data.base import ImageDataset, choose_subset, spread
from zsd_ray.data.classes import ClassList, fill_templates, resolve_classes
from zsd_ray.data.open import open_dataset
from zsd_ray.engine.scheduler import Scheduler
from zsd_ray.models.registry import check_model
from zsd_ray.models.source import fingerprint
from zsd_ray.results.output import Output
from zsd_ray.results.run_file import RunFile
from zsd_ray.spec.config import RunConfig
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.identity import differences, hash_of, identity_parts
from zsd_ray.spec.records import ImageRecord
from zsd_ray.spec.secrets import redacted
from zsd_ray.stats.rules import make_rule

N_TRACED = 24
"""Images whose raw draws are kept for the report to choose from, whatever the output keeps."""


@dataclass(frozen=True)
class Plan:
    """A checked run.

    records: the data set's images with labels as class numbers (None: unlabelled).
    todo: numbers of the images to decide; n_done: images that the output holds already.
    previous: the run.json that this run continues, if any.
    """

    config: RunConfig
    dataset: ImageDataset
    records: Sequence[ImageRecord]
    classes: ClassList
    prompts: list[str]
    todo: list[int]
    n_done: int
    output: Output
    identity: str
    identity_parts: dict[str, Any]
    model_fingerprint: str
    previous: RunFile | None

    @property
    def n_images(self) -> int:
        """Images of the output when this run has ended."""
        return self.n_done + len(self.todo)

    @property
    def n_templates(self) -> int:
        return len(self.config.prompts.templates)

    def scheduler(self) -> Scheduler:
        """A scheduler of the images that are left to do."""
        by_hash = sorted(self.todo, key=lambda n: spread(self.records[n].image_id))
        return Scheduler(
            records=self.records,
            images=self.todo,
            rule=make_rule(self.config.pruning),
            n_classes=len(self.classes.names),
            n_templates=self.n_templates,
            traced=frozenset(by_hash[:N_TRACED]),
            keep_all_raw=self.config.output.raw_scores,
        )


def make_plan(config: RunConfig) -> Plan:
    """Check a configuration against the world: model files, data, classes, output.

    Raises:
        UserError: what is wrong, in one line; nothing has been started. The output folder is made
            last, when all else is well.
    """
    folder = check_model(config.model)
    dataset = open_dataset(config.data)
    labels = [record.label for record in dataset.records]
    classes = resolve_classes(config.prompts.classes, dataset.label_names, labels)
    model_fingerprint = fingerprint(folder)
    parts = identity_parts(config, classes.names, classes.of_label, model_fingerprint)
    output = Output(config.output.path)
    previous = output.read_run()
    if previous is not None and previous.identity != hash_of(parts):
        changes = "; ".join(differences(previous.identity_parts, redacted(parts)))
        raise UserError(
            f"output.path {redacted(config.output.path)} belongs to another run ({changes}); "
            "choose another output.path"
        )
    done = set(output.read_table("decisions", ["image_id"])["image_id"].to_pylist())
    records = dataset.records
    todo = [n for n in choose_subset(records, config.data.limit) if records[n].image_id not in done]
    output.prepare()
    return Plan(
        config=config,
        dataset=dataset,
        records=[replace(record, label=classes.class_of(record.label)) for record in records],
        classes=classes,
        prompts=fill_templates(classes.names, config.prompts.templates),
        todo=todo,
        n_done=len(done),
        output=output,
        identity=hash_of(parts),
        identity_parts=redacted(parts),
        model_fingerprint=model_fingerprint,
        previous=previous,
    )
