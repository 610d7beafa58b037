"""A saved probe: probe.json, which names the model under it, and probe.safetensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsd_ray.config.families import FAMILIES
from zsd_ray.config.pooling import Pooling
from zsd_ray.config.run import ModelConfig, parse_config
from zsd_ray.models.adapter import ModelFiles
from zsd_ray.models.conditioning.labels import match
from zsd_ray.models.files import source
from zsd_ray.models.files.model_json import read_object
from zsd_ray.models.files.weight_files import check_whole
from zsd_ray.models.registry import resolve_model
from zsd_ray.records.errors import UserError, some
from zsd_ray.records.redaction import redact
from zsd_ray.storage.store import Store

INDEX, WEIGHTS = "probe.json", "probe.safetensors"


@dataclass(frozen=True)
class ProbeFile:
    """The content of probe.json.

    model: the keys of the `model` section that were set; a relative path stays as it was given.
    t, block, pooling, prompt, seed: define its features.
    labels: a name for each row of the weights.
    fitted: its fit and accuracy, as in its row of probes.parquet.
    """

    model: dict[str, Any]
    t: float
    block: str
    pooling: Any
    prompt: str
    seed: int
    labels: list[str]
    fitted: dict[str, Any]

    @property
    def pooling_section(self) -> Pooling:
        from pydantic import TypeAdapter

        return TypeAdapter[Pooling](Pooling).validate_python(self.pooling)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def weights_file(
    classes_K: NDArray[np.int64], weight_KD: NDArray[np.float64], bias_K: NDArray[np.float64]
) -> bytes:
    """The content of probe.safetensors; classes: which label of the data each row is."""
    from safetensors.numpy import save

    weight = np.ascontiguousarray(weight_KD)
    return save({"classes": classes_K, "weight": weight, "bias": np.ascontiguousarray(bias_K)})


class ProbeFiles(ModelFiles):
    """A folder as `zsd-ray probe` saves it."""

    def check(self, config: ModelConfig, store: Store) -> Path:
        """Return the folder of a saved probe.

        Raises:
            UserError: it is not one, or the model under it is missing.
        """
        folder = source.resolve(config, (), store)
        try:
            resolve_model(under(folder, config), store)
        except UserError as error:
            raise UserError(f"the model under the probe {config.path}: {error}") from error
        return folder

    def fingerprint(self, folder: Path, config: ModelConfig, store: Store) -> str:
        """Hash the probe, and the model under it."""
        parts = [source.file_fingerprint(name, folder / name) for name in (INDEX, WEIGHTS)]
        parts.append(resolve_model(under(folder, config), store).fingerprint)
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

    def label_numbers(self, folder: Path, config: ModelConfig, prompts: Sequence[str]) -> list[int]:
        return sorted({*label_numbers(folder, config, prompts).tolist()})

    def takes_null_prompt(self, folder: Path, config: ModelConfig) -> bool:
        return False


def label_numbers(folder: Path, config: ModelConfig, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the label of each name, (N,) int64, by the names of `model.labels`, else of the probe.

    Raises:
        UserError: the probe has no such labels.
    """
    labels = read(folder).labels
    texts = config.labels or labels
    if len(texts) > len(labels):
        raise UserError(f"model.labels has {len(texts)} names for {len(labels)} labels")
    return match(dict(enumerate(texts)), len(labels), names)


def under(folder: Path, config: ModelConfig) -> ModelConfig:
    """Return the model under a probe, on the device of `config`; in its dtype, if that is set.

    Raises:
        UserError: it could run code, or is remote and not also named by `config`: a probe's folder
            may be untrusted.
    """
    own = {
        key: getattr(config, key) for key in ("device", "dtype") if key in config.model_fields_set
    }
    model = parse_config(ModelConfig, read(folder).model | own, f"{folder / INDEX}: model")
    if model.pickle or "features" not in FAMILIES[model.family].abilities:
        raise UserError(
            f"{folder / INDEX} names a model of family {model.family}"
            f"{' that needs pickle' if model.pickle else ''}: the model under a probe is a "
            "diffusion model in safetensors"
        )
    if source.is_elsewhere(model.path) and config.pretrained != model.path:
        shown = redact(model.path)
        raise UserError(
            f"{folder / INDEX} names a model that is not on this machine, {shown}; nothing is "
            f"fetched because a file says so: if you want it, set model.pretrained: {shown}"
        )
    return model


def under_here(folder: Path, config: ModelConfig) -> ModelConfig:
    """Like `under`, for a checked probe, with a URL replaced by the folder that `check` fetched it
    to."""
    model = under(folder, config)
    if "://" not in model.path:
        return model
    return model.model_copy(update={"path": str(source.fetched_to(model.path))})


def read(folder: Path) -> ProbeFile:
    """Read probe.json; raises UserError."""
    path = folder / INDEX
    if not path.exists():
        raise UserError(
            f"model.path {folder} has no {INDEX}: not a saved probe; `zsd-ray probe` makes one, "
            "OUTPUT/probe"
        )
    content = read_object(path)
    known = {field.name for field in fields(ProbeFile)}
    if set(content) != known:
        raise UserError(f"{path} is not a saved probe of this version; make it again")
    if not (folder / WEIGHTS).exists():
        raise UserError(f"model.path {folder} lacks {WEIGHTS}")
    probe = _typed(path, content)
    _check_weights(folder / WEIGHTS, len(probe.labels))
    return probe


def _typed(path: Path, content: dict[str, Any]) -> ProbeFile:
    """Return the content of a probe.json, with the types of its values checked."""
    from pydantic import TypeAdapter, ValidationError

    try:
        probe: ProbeFile = TypeAdapter(ProbeFile).validate_python(content)
        _ = probe.pooling_section
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"{path}: {where} is not what a saved probe has ({error.errors()[0]['msg']}); make the "
            "probe again"
        ) from error
    if not 0 <= probe.t <= 1:
        raise UserError(f"{path}: t is {probe.t!r}, and a number from 0 to 1 is expected")
    return probe


def _check_weights(path: Path, n_labels: int) -> None:
    """Refuse weights for another number of labels."""
    shapes = check_whole([path], whole_numbers=True)  # `_check_kinds` knows which
    width = (shapes.get("weight", ()) or (0,))[-1]
    wanted = {"classes": (n_labels,), "weight": (n_labels, width), "bias": (n_labels,)}
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            raise UserError(
                f"{path}: the tensor {name} has the shape {shapes.get(name)}, and {INDEX} has "
                f"{n_labels} labels; make the probe again"
            )
    if more := sorted(shapes.keys() - wanted.keys()):
        raise UserError(f"{path} holds {some(more)}, which no probe has; make the probe again")
    _check_kinds(path)


_KINDS = {"classes": "I64", "weight": "F64", "bias": "F64"}
"""As `weights_file` writes them."""


def _check_kinds(path: Path) -> None:
    """Refuse tensors of other dtypes than a saved probe has."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        came = {name: file.get_slice(name).get_dtype() for name in _KINDS}
    for name, kind in _KINDS.items():
        if came[name] != kind:
            raise UserError(
                f"{path}: the tensor {name} holds {came[name]}, and a saved probe has {kind} there;"
                " make the probe again"
            )
