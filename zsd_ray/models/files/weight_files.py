"""Weights files before loading: which ones a library takes, and whether they are whole.

Only headers are read, so that gigabytes are checked in milliseconds. No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files.model_json import part_of, read_object
from zsd_ray.records.errors import UserError, last_line, some
from zsd_ray.settings.documents import is_lfs_pointer
from zsd_ray.storage.inside import path_inside

SAFE, PICKLED = ".safetensors", ".bin"
Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each tensor, by its name."""
_Tensors = Mapping[str, tuple[tuple[int, ...], str]]
"""The same, each with its dtype as safetensors calls it."""
_WHOLE_NUMBERS = re.compile(r"I\d+|U\d+|BOOL")
_NO_WEIGHTS = re.compile(
    r"(^|\.)(position_ids|token_type_ids|num_batches_tracked|relative_position_index"
    r"|rel_pos_indices|attention_bias_idxs|attn_mask)$|^classes$"
)
"""Tensors that are whole numbers, and no weights: places, counters, and the labels of a probe."""


def files_of_part(folder: Path, of_transformers: bool, config: ModelConfig) -> list[Path]:
    """Return the weights files that the library takes for one part of a pipeline folder.

    Args:
        of_transformers: whether transformers loads the part, else diffusers; each prefers and names
            them in its own way.

    Raises:
        UserError: there are none, or an index names files that are missing or not allowed.
    """
    for name in _names(of_transformers, config):
        path = folder / name
        if path.is_file():
            return _shards(path, config) if path.suffix == ".json" else [path]
    variant = f".{config.variant}" if config.variant else ""
    kinds = (SAFE, PICKLED) if config.pickle else (SAFE,)
    wanted = " or ".join(variant + kind for kind in kinds)
    other = "" if config.pickle else f"; {PICKLED} files can run code, and need model.pickle: true"
    likely = _names(of_transformers, config)[1 if not of_transformers else 0]
    raise UserError(f"model.path {folder} has no {wanted} file ({likely}){other}")


def check_whole(paths: Iterable[Path], whole_numbers: bool = False) -> Shapes:
    """Check by their headers that weights files are whole; return the tensors of safetensors.

    Args:
        whole_numbers: whether tensors may be integers, as in a network declared as quantised.

    Raises:
        UserError: which one is not, or holds integers as weights, and why.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in paths:
        check_file(path)
        if path.suffix == SAFE:
            tensors = _header(path)
            if not whole_numbers:
                _refuse_whole_numbers(path, tensors)
            shapes |= {name: shape for name, (shape, _) in tensors.items()}
    return shapes


def _refuse_whole_numbers(path: Path, tensors: _Tensors) -> None:
    """Refuse weights that are integers: the libraries silently use them as weights."""
    odd = sorted(
        f"{name} ({dtype})"
        for name, (_, dtype) in tensors.items()
        if _WHOLE_NUMBERS.fullmatch(dtype) and not _NO_WEIGHTS.search(name)
    )
    if odd:
        raise UserError(
            f"{path} holds whole numbers as the weights {some(odd)} ({len(odd):,} of them), and "
            "floats are expected, for config.json has no quantization_config: damaged, or "
            "quantised; take another copy of the model"
        )


def _names(of_transformers: bool, config: ModelConfig) -> list[str]:
    """Return the file names that a library looks for, by preference."""
    stem = "model" if of_transformers else "diffusion_pytorch_model"
    one, index = f"{stem}{SAFE}", f"{stem}{SAFE}.index.json"
    names = [one, index] if of_transformers else [index, one]
    if config.pickle:
        names += ["pytorch_model.bin", "pytorch_model.bin.index.json"] if of_transformers else []
        names += [] if of_transformers else [f"{stem}{PICKLED}"]
    if config.variant is None:
        return names
    varied = [_with_variant(name, config.variant) for name in names]
    # As diffusers of 2024 named the index.
    old = [] if of_transformers else [f"{stem}{SAFE}.{config.variant}.index.json"]
    return [*old, *varied]


def _with_variant(name: str, variant: str) -> str:
    start, _, end = name.rpartition(".")
    return f"{start}.{variant}.{end}"


def _shards(index: Path, config: ModelConfig) -> list[Path]:
    """Return the files that an index names, each with the tensors listed for it."""
    places = part_of(read_object(index), "weight_map", index)
    by_file: dict[str, set[str]] = {}
    for tensor, name in places.items():
        by_file.setdefault(str(name), set()).add(tensor)
    if not by_file:
        raise UserError(f"{index} names no files of weights; take another copy of the model")
    paths = []
    for name, tensors in sorted(by_file.items()):
        path = path_inside(index.parent, name, str(index))
        allowed = (SAFE, PICKLED) if config.pickle else (SAFE,)
        if path.suffix not in allowed:
            raise UserError(f"{index} names {name!r}, which is no {' or '.join(allowed)} file")
        if path.suffix == SAFE and (lost := sorted(tensors - check_whole([path], True).keys())):
            raise UserError(f"{path} lacks the tensors {some(lost)}, which {index.name} puts there")
        paths.append(path)
    return paths


def check_file(path: Path) -> None:
    """Refuse a file that is missing, a folder, empty, or a pointer of git-LFS."""
    if not path.is_file():
        what = "is a folder, and a file is expected" if path.is_dir() else "is missing"
        raise UserError(f"{path} {what}; take another copy of the model")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    if not head:
        raise UserError(f"{path} is empty; take another copy of the model")
    if is_lfs_pointer(head):
        raise UserError(f"{path} is a git-LFS pointer, not the file itself; run `git lfs pull`")


def _header(path: Path) -> _Tensors:
    """Return shapes and dtypes by name; the library compares the header with the file's length."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: (tuple(of.get_shape()), of.get_dtype()) for name, of in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path} is no whole safetensors file ({last_line(error)}): damaged, or cut short; "
            "fetch it again"
        ) from error
