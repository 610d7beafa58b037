"""The plan of a set of generated images, made before any is generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zsd_ray.config.families import FAMILIES
from zsd_ray.config.identity import NUMERICS
from zsd_ray.config.precision import as_before
from zsd_ray.data.labels.classes import fill_templates, read_names
from zsd_ray.models.conditioning.labels import is_unconditional, label_names
from zsd_ray.models.registry import ResolvedModel, resolve_model
from zsd_ray.models.samplers import check_sampler
from zsd_ray.planning.defaults import prompt_defaults
from zsd_ray.records.errors import UserError
from zsd_ray.results.image_parts import ImageParts
from zsd_ray.results.job import refuse_other
from zsd_ray.results.output import Output
from zsd_ray.results.record_file import as_record
from zsd_ray.storage.store import Store
from zsd_ray.studies.generation.generate_config import GenerateConfig

PART = 64
"""Images of one part: what a worker makes at once, and at most loses."""

RECORD = "generate.json"


@dataclass(frozen=True)
class ImageSetPlan:
    """All that the images of a set depend on; picklable.

    prompts: the K x templates prompts, class-major; without classes the empty one, or none for an
        unconditional model.
    """

    config: GenerateConfig
    prompts: tuple[str, ...]
    parts: ImageParts
    n_images: int
    identity_parts: Mapping[str, Any]
    run_id: str | None = None

    @property
    def n_parts(self) -> int:
        return -(-self.n_images // PART)

    def numbers(self, part: int) -> range:
        """The images of one part."""
        return range(part * PART, min((part + 1) * PART, self.n_images))


def plan_images(config: GenerateConfig, store: Store | None = None) -> ImageSetPlan:
    """Check a configuration against its model and its output; nothing is written.

    Args:
        store: how everything is reached, also by what follows; None: as the storage section says.

    Raises:
        UserError: the error, in one line.
    """
    store = store or Store(config.storage)
    output = Output(config.output.path, store)
    previous = _previous(output)
    config = as_before(config, previous.identity_parts if previous else None)
    model, family = config.model, FAMILIES[config.model.family]
    if "decode" not in family.abilities:
        able = [name for name, other in FAMILIES.items() if "decode" in other.abilities]
        raise UserError(
            f"model.family {model.family} makes no images that can be looked at; those that do: "
            f"{', '.join(able)}"
        )
    if config.cluster.batch_size == "auto":
        raise UserError("cluster.batch_size auto is for runs; set a number of images")
    found = resolve_model(model, store)
    check_sampler(model, found.folder, config.sampler)
    prompts: list[str] = []
    classes: list[str] = []
    if config.images_per_class is not None:
        section = prompt_defaults(model, config.prompts)
        classes = _names(section.classes, store)
        if not classes and family.takes == "labels":
            classes = label_names(found.folder, model)
        if not classes:
            raise UserError("prompts.classes is not set; name the classes to make images of")
        prompts = fill_templates(classes, list(section.templates))
        found.check_prompts(prompts)
        if config.guidance_scale != 1:
            found.check_null_prompt("guidance_scale", "1.0")
    elif not is_unconditional(found.folder):
        found.check_null_prompt("images", "null, and images_per_class")
        prompts = [""]
    n_images = config.images or len(classes) * (config.images_per_class or 0)
    parts = _identity_parts(config, found, prompts, classes)
    refuse_other(output, "another set of images", previous, parts)
    images = ImageParts(output, tuple(classes))
    run_id = previous.mlflow_run_id if previous else None
    return ImageSetPlan(config, tuple(prompts), images, n_images, parts, run_id)


def _names(classes: Sequence[str] | Mapping[str, str] | str | None, store: Store) -> list[str]:
    if isinstance(classes, str):
        return read_names(classes, store)
    return list(classes.values() if isinstance(classes, Mapping) else classes or [])


def _identity_parts(
    config: GenerateConfig,
    found: ResolvedModel,
    prompts: Sequence[str],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Return everything that the images depend on. Cluster and batch size are left out, as for a
    run."""
    tree = config.model_dump(mode="json")
    model = {
        key: tree["model"][key]
        for key in ("family", "dtype", "image_size", "labels", "max_prompt_tokens", "kwargs")
    }
    return {
        "numerics": NUMERICS,
        "model": model | {"fingerprint": found.fingerprint},
        "prompts": list(prompts),
        "classes": list(classes),
        **{k: tree[k] for k in ("images", "images_per_class", "sampler", "guidance_scale", "seed")},
    }


def _previous(output: Output) -> _Previous | None:
    """The record of an earlier call; raises UserError where it is none."""
    tree = output.read_json(RECORD)
    if tree is None:
        return None
    return as_record(_Previous, tree, output.shown(RECORD), "choose another output.path")


@dataclass(frozen=True)
class _Previous:
    """The content of generate.json."""

    identity: str
    identity_parts: dict[str, Any]
    mlflow_run_id: str | None = None
