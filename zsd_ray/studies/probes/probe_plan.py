"""Planning of probes, before anything starts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Literal

from zsd_ray.config.data import DataConfig
from zsd_ray.config.families import FAMILIES
from zsd_ray.config.identity import hash_of
from zsd_ray.config.precision import as_before
from zsd_ray.config.run import ModelConfig
from zsd_ray.data.dataset import ImageDataset, choose_share, choose_subset
from zsd_ray.data.open import open_dataset
from zsd_ray.models.conditioning.fixed_conditioning import check_fixed_conditioning
from zsd_ray.models.features.block_names import block_names
from zsd_ray.models.registry import resolve_model
from zsd_ray.records.errors import UserError, some
from zsd_ray.records.redaction import redact, redacted
from zsd_ray.results.job import refuse_other
from zsd_ray.results.output import Output
from zsd_ray.settings.section import WHOLE
from zsd_ray.storage.filesystem import list_folder
from zsd_ray.storage.store import Store
from zsd_ray.studies.probes.probe_config import ProbeConfig
from zsd_ray.studies.probes.probe_record import ProbeRecord

HELD_OUT = 0.2
"""Share of the training images that chooses between settings and cells, and is never tested on."""

IMAGES_A_PART = 256

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

_EPOCH = re.compile(r"(\d+)$")
_PATTERN = re.compile(r"[*?\[]")
_NUMERICS = 1


@dataclass(frozen=True)
class Checkpoint:
    """One state of the model. epoch: the number at the end of its name, if there is one."""

    name: str
    model: ModelConfig
    fingerprint: str

    @property
    def epoch(self) -> int | None:
        found = _EPOCH.search(self.name)
        return int(found[1]) if found else None


@dataclass(frozen=True)
class ImageSet:
    """The images of one split: a data set, the numbers of those that are used, and their labels."""

    dataset: ImageDataset
    numbers: Sequence[int]

    @property
    def n_parts(self) -> int:
        return -(-len(self.numbers) // IMAGES_A_PART)

    @property
    def content(self) -> str:
        """A hash of which images these are, and of their labels."""
        digest = hashlib.blake2b(digest_size=12)
        for number in self.numbers:
            record = self.dataset.records[number]
            digest.update(f"{record.image_id}\0{record.label}\0".encode())
        return digest.hexdigest()

    def part(self, number: int) -> Sequence[int]:
        return self.numbers[number * IMAGES_A_PART : (number + 1) * IMAGES_A_PART]


@dataclass(frozen=True)
class ProbePlan:
    """A checked configuration.

    held_out: numbers of the training images that choose, and are fitted to only afterwards.
    label_names: of every label of the data.
    """

    config: ProbeConfig
    checkpoints: list[Checkpoint]
    images: dict[Split, ImageSet]
    held_out: frozenset[int]
    label_names: list[str]
    output: Output
    identity: str
    identity_parts: dict[str, Any]
    previous: ProbeRecord | None


def make_probe_plan(config: ProbeConfig, store: Store | None = None) -> ProbePlan:
    """Check a configuration against its model and data; nothing is written or started.

    Args:
        store: how everything is reached, also by what follows; None: as the storage section says.

    Raises:
        UserError: the error, in one line.
    """
    store = store or Store(config.storage)
    output = Output(config.output.path, store)
    previous = ProbeRecord.read(output)
    config = as_before(config, previous.identity_parts if previous else None)
    _check_family(config.model)
    checkpoints = _checkpoints(config, store)
    images: dict[Split, ImageSet] = {
        "train": _images(config.data.train, "train", store),
        "test": _images(config.data.test, "test", store),
    }
    names = _label_names(images["train"], images["test"])
    _check_apart(images["train"], images["test"])
    held_out = _held_out(config, images["train"])
    parts = _identity_parts(config, images)
    refuse_other(output, "other probes", previous, parts)
    return ProbePlan(
        config=config,
        checkpoints=checkpoints,
        images=images,
        held_out=held_out,
        label_names=names,
        output=output,
        identity=hash_of(parts),
        identity_parts=redacted(parts),
        previous=previous,
    )


def _check_family(model: ModelConfig) -> None:
    if "features" in FAMILIES[model.family].abilities:
        return
    able = [name for name, family in FAMILIES.items() if "features" in family.abilities]
    raise UserError(
        f"model.family {model.family} cannot show what its blocks make of an image; those that "
        f"can: {', '.join(able)}"
    )


def _checkpoints(config: ProbeConfig, store: Store) -> list[Checkpoint]:
    paths = _paths(config, store)
    names = [path.rstrip("/").rsplit("/", 1)[-1] for path in paths]
    if len(set(names)) < len(names):
        names = [redact(path) for path in paths]
    found = []
    for name, path in zip(names, paths, strict=True):
        model = config.model.model_copy(update={"path": path})
        files = resolve_model(model, store)
        _check_blocks(config, path, block_names(files.folder))
        check_fixed_conditioning(files, config.prompt)
        found.append(Checkpoint(name, model, files.fingerprint))
    wanted = config.save.checkpoint
    if wanted is not None and wanted not in names:
        raise UserError(f"save.checkpoint {wanted} is none of these: {some(names)}")
    return found


def _check_blocks(config: ProbeConfig, path: str, names: Sequence[str]) -> None:
    """Refuse blocks that the network at a path does not have."""
    wanted = {"blocks": [] if config.blocks == "all" else config.blocks}
    if config.save.block is not None:
        wanted["save.block"] = [config.save.block]
        names = names if config.blocks == "all" else config.blocks
    for key, blocks in wanted.items():
        missing = [block for block in blocks if block not in names]
        if missing:
            raise UserError(
                f"{key}: the network of {redact(path)} has no {', '.join(missing)}; it has "
                f"{', '.join(names)}"
            )


def _paths(config: ProbeConfig, store: Store) -> list[str]:
    """The path or URL of every checkpoint, by name."""
    wanted = config.checkpoints
    if wanted is None:
        return [config.model.path]
    if isinstance(wanted, list):
        if not wanted:
            raise UserError("checkpoints is an empty list; name one, or leave it out")
        return wanted
    pattern = wanted if _PATTERN.search(wanted) else f"{wanted.rstrip('/')}/epoch-*"
    parent, _, last = pattern.rpartition("/")
    if _PATTERN.search(parent):
        raise UserError(
            f"checkpoints {redact(wanted)}: only the last part of a path may be a pattern; give "
            "that, a folder, or a list"
        )
    try:
        # Not the filesystem's glob, which leaves out what it cannot list.
        fs, root = store.open(parent or ".")
        listed = store.ask(parent, lambda: list_folder(fs, root.rstrip("/")))
    except Exception as error:  # each filesystem has errors of its own
        what = f"checkpoints {redact(wanted)} cannot be listed"
        raise store.user_error(what, error, wanted) from error
    names = (path.rstrip("/").rsplit("/", 1)[-1] for path in listed)
    folders = sorted(
        f"{parent}/{name}" if parent else name for name in names if fnmatch(name, last)
    )
    if not folders:
        raise UserError(
            f"checkpoints {redact(wanted)}: there is no folder like {redact(pattern)}; give a "
            "folder that holds epoch-0001 and so on, a glob pattern, or a list"
        )
    return folders


def _images(data: DataConfig, split: str, store: Store) -> ImageSet:
    dataset = open_dataset(data, store)
    numbers = choose_subset(dataset.records, data.limit)
    unlabelled = [n for n in numbers if dataset.records[n].label is None]
    if unlabelled:
        raise UserError(
            f"data.{split}: {len(unlabelled)} of {len(numbers)} images have no label "
            f"({dataset.records[unlabelled[0]].image_id}); a probe needs one of each"
        )
    return ImageSet(dataset, numbers)


def _label_names(train: ImageSet, test: ImageSet) -> list[str]:
    mine, others = train.dataset.label_names, test.dataset.label_names
    if (None if mine is None else list(mine)) != (None if others is None else list(others)):
        raise UserError(
            f"data.train and data.test have different classes ({some(list(mine or ['numbers']))} "
            f"and {some(list(others or ['numbers']))}); they must have the same, in one order"
        )
    if mine is not None:
        return list(mine)
    labels = (s.dataset.records[n].label or 0 for s in (train, test) for n in s.numbers)
    return [str(number) for number in range(max(labels) + 1)]


def _check_apart(train: ImageSet, test: ImageSet) -> None:
    """Refuse to test on images that were fitted to."""
    fitted = {train.dataset.records[number].source for number in train.numbers}
    both = [n for n in test.numbers if test.dataset.records[n].source in fitted]
    if both:
        raise UserError(
            f"data.train and data.test share {len(both)} images "
            f"({redact(test.dataset.records[both[0]].source)}); test on others"
        )


def _held_out(config: ProbeConfig, train: ImageSet) -> frozenset[int]:
    records = train.dataset.records
    held_out = frozenset(choose_share(records, train.numbers, HELD_OUT, config.seed))
    rest = [number for number in train.numbers if number not in held_out]
    classes = {records[number].label for number in rest}
    most = max(config.probes.knn.k) if config.probes.knn else 1
    if not held_out or len(classes) < 2 or len(rest) < most:
        raise UserError(
            f"data.train: {len(rest)} images of {len(classes)} classes are left to fit to when "
            f"{len(held_out)} are held out to choose by; probes need 2 classes and one held out"
            + (f", and probes.knn.k {most} as many images" if config.probes.knn else "")
        )
    return held_out


def _identity_parts(config: ProbeConfig, images: dict[Split, ImageSet]) -> dict[str, Any]:
    """Return everything that the rows of a checkpoint depend on, except the checkpoint itself."""
    tree = config.model_dump(mode="json", context={WHOLE: True})
    # A checkpoint's features lie under the hash of its content; so more can be added.
    for name in ("checkpoints", "save", "cluster", "output", "storage", "tracking"):
        del tree[name]
    for name in ("path", "revision", "variant", "pickle", "device", "compile", "max_difference"):
        del tree["model"][name]
    for split, those in images.items():
        tree["data"][split]["images"] = those.content
    return {"numerics": _NUMERICS, "held_out": HELD_OUT, **tree}
