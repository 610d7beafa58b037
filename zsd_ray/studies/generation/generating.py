"""A set of images that a model makes: what is settled before, and the making of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zsd_ray.config.families import FAMILIES
from zsd_ray.config.identity import NUMERICS, differences, hash_of, resolved, settings
from zsd_ray.config.precision import as_before
from zsd_ray.data.labels.classes import fill_templates, read_names
from zsd_ray.models.conditioning.labels import is_unconditional, label_names
from zsd_ray.models.registry import ResolvedModel, resolve_model
from zsd_ray.models.samplers import check_sampler
from zsd_ray.planning.defaults import prompt_defaults
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact, redacted
from zsd_ray.results.contact_sheet import contact_sheet
from zsd_ray.results.image_parts import ImageParts, Picture, png
from zsd_ray.results.output import Output
from zsd_ray.results.record_file import as_record
from zsd_ray.results.tracking.tracker import TrackedRun, start_tracker
from zsd_ray.runtime.pieces import DoAll, Work
from zsd_ray.storage.store import Store
from zsd_ray.studies.generation.generate_config import GenerateConfig

PART = 64
"""Images of one part: what a worker makes at once, and at most loses."""

RECORD = "generate.json"
SHEET = "grid.png"
_SHEET_SIDE = 10  # classes, and images of each, at most

OnPart = Callable[[int, int], None]
"""Called with how many of all images are done."""


@dataclass(frozen=True)
class Job:
    """All that the images of a set depend on; picklable.

    prompts: what the model is told, K x templates of them, class-major; without classes the empty
        one, or none where the model is told nothing.
    """

    config: GenerateConfig
    prompts: tuple[str, ...]
    parts: ImageParts
    n_images: int
    identity_parts: Mapping[str, Any]

    @property
    def n_parts(self) -> int:
        return -(-self.n_images // PART)

    def numbers(self, part: int) -> range:
        """The images of one part."""
        return range(part * PART, min((part + 1) * PART, self.n_images))

    def make(self) -> Work[int, int]:
        """Load the model, as a worker does."""
        from zsd_ray.studies.generation.image_maker import ImageMaker

        return ImageMaker(self)


@dataclass(frozen=True)
class Generated:
    """A finished set.

    output: its path or URL, without passwords; evaluations: of this call, without padding.
    """

    output: str
    n_images: int
    classes: tuple[str, ...]
    n_evaluations: int
    seconds: float
    tracked: TrackedRun | None = None


def plan_images(config: GenerateConfig, store: Store | None = None) -> Job:
    """Check a configuration against its model and its output; nothing is written.

    Args:
        store: how everything is reached, also by `generate`; None: as the storage section says.

    Raises:
        UserError: what is wrong, in one line.
    """
    store = store or Store(config.storage)
    output = Output(config.output.path, store)
    held = output.read_json(RECORD)
    config = as_before(config, held.get("identity_parts") if isinstance(held, dict) else None)
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
    _check_output(output, parts)
    images = ImageParts(output, tuple(classes))
    return Job(config, tuple(prompts), images, n_images, parts)


def generate(
    job: Job,
    do_all: DoAll,
    on_part: OnPart = lambda done, total: None,
    on_warning: Callable[[str], None] = print,
) -> Generated:
    """Make the images of a set that are not there yet, its record and its grid.

    Raises:
        UserError: the output cannot be written to.
    """
    output, start = job.parts.output, time.monotonic()
    output.prepare()
    _write_record(job)
    todo = sorted(set(range(job.n_parts)) - job.parts.done())
    done = job.n_images - sum(len(job.numbers(part)) for part in todo)
    config = job.config
    tracker = None
    if todo:  # else nothing new is to be told
        tracker = start_tracker(config.tracking, config.output.path, settings(config), on_warning)
    n_evaluations, sheet = 0, b""
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FAILED"
    tracked = None
    try:
        on_part(done, job.n_images)
        for part, spent in zip(todo, do_all(job.make, todo), strict=True):
            done += len(job.numbers(part))
            n_evaluations += spent
            on_part(done, job.n_images)
            if tracker is not None:
                tracker.log({"images": done}, step=part)
        sheet = png(contact_sheet(_shown(job), job.parts.classes))
        output.write_bytes(SHEET, sheet)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        seconds = time.monotonic() - start
        if tracker is not None:
            metrics = {"images": done, "n_evaluations": n_evaluations, "seconds": seconds}
            tracked = tracker.close(metrics, {SHEET: sheet} if sheet else {}, status)
    path = redact(job.config.output.path)
    return Generated(path, job.n_images, job.parts.classes, n_evaluations, seconds, tracked)


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
    """What the images depend on. Cluster and batch size are left out, as of a run."""
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


def _check_output(output: Output, parts: Mapping[str, Any]) -> None:
    """Refuse an output that holds another set."""
    tree = output.read_json(RECORD)
    if tree is None:
        return
    advice = "choose another output.path"
    previous = as_record(_Identity, tree, output.shown(RECORD), advice)
    if previous.identity != hash_of(parts):
        changes = "; ".join(differences(previous.identity_parts, redacted(dict(parts))))
        raise UserError(
            f"output.path {redact(output.path)} holds another set of images ({changes}); choose "
            "another output.path"
        )


@dataclass(frozen=True)
class _Identity:
    """What is read back of generate.json."""

    identity: str
    identity_parts: dict[str, Any]


def _write_record(job: Job) -> None:
    record = {
        "identity": hash_of(job.identity_parts),
        "identity_parts": redacted(dict(job.identity_parts)),
        "config": resolved(job.config),
        "n_images": job.n_images,
    }
    content = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    job.parts.output.write_bytes(RECORD, content.encode())


def _shown(job: Job) -> list[list[Picture]]:
    """Pictures of the grid: a row a class, or rows of what has no class."""
    side, n_classes = _SHEET_SIDE, len(job.parts.classes)
    if n_classes:
        shown = min(side, job.n_images // n_classes)
        rows = [
            [number * n_classes + label for number in range(shown)]
            for label in range(min(side, n_classes))
        ]
    else:
        first = range(min(side**2, job.n_images))
        rows = [list(first[start : start + side]) for start in range(0, len(first), side)]
    parts = {part: job.parts.read(part) for part in sorted({n // PART for r in rows for n in r})}
    return [[parts[n // PART][n % PART] for n in row] for row in rows]
