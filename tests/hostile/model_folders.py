"""Model folders of strangers: with code in them, and damaged ones.

A builder of tests/support/tiny_models writes a good folder; the functions here spoil it.
"""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_CONFIGS = ("config.json", "tokenizer_config.json", "open_clip_config.json", "model_index.json")


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object; None removes one."""
    content = json.loads(path.read_text()) | changes
    gone = {key for key, value in changes.items() if value is None}
    path.write_text(json.dumps({key: content[key] for key in content if key not in gone}))


# ---- code


def write_evil(folder: Path, marker: Path) -> None:
    """A module that writes `marker` where it is imported, with every class that it may be asked."""
    names = ("Tokenizer", "Config", "Model")
    classes = "".join(f"class {name}:\n    pass\n\n\n" for name in names)
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n\n\n{classes}")


def plant_code(folder: Path, marker: Path) -> None:
    """Name a module that writes `marker` in every configuration of a folder and its subfolders."""
    auto_map = {
        "AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"],
        "AutoConfig": "evil.Config",
        "AutoModel": "evil.Model",
    }
    for path in [path for path in folder.rglob("*.json") if path.name in _CONFIGS]:
        edit(path, auto_map=auto_map, trust_remote_code=True)
        write_evil(path.parent, marker)


def plant_kernel(folder: Path) -> None:
    """Ask for a repository of attention kernels in every text encoder's configuration."""
    for path in folder.glob("text_encoder*/config.json"):
        edit(path, _attn_implementation="evil/kernel", attn_implementation="evil/kernel")


def plant_tokenizer(folder: Path, marker: Path, **text_cfg: Any) -> None:
    """Let an open_clip folder read prompts by a tokenizer of transformers' that is code."""
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": "x", **text_cfg}
    path.write_text(json.dumps(content))
    tokenizer = {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    write_evil(folder, marker)


class Evil:
    """An object whose pickle writes a file where it is loaded."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self._marker), "w")


def plant_pickles(folder: Path, marker: Path) -> None:
    """Put a pickle that writes `marker` in the place of all weights, under each library's name."""
    names = {
        "model.safetensors": "pytorch_model.bin",
        "open_clip_model.safetensors": "open_clip_pytorch_model.bin",
        "diffusion_pytorch_model.safetensors": "diffusion_pytorch_model.bin",
    }
    for path in list(folder.rglob("*.safetensors")):
        path.with_name(names[path.name]).write_bytes(pickle.dumps({"weight": Evil(marker)}))
        path.unlink()


# ---- damage

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 335\n"


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILE_DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(random.Random(0).randbytes(3000)),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut by one": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "git-LFS pointer": lambda path: path.write_bytes(POINTER),
    "missing": Path.unlink,
    "a folder": _as_folder,
}
"""What may happen to any file, by name."""

ODD_VALUES: tuple[Any, ...] = (
    "64", "x", "", -1, 0, 0.5, 10**12, -(10**12), True, None, [], {}, [None], ["x"], {"a": 1}, [-3],
    float("nan"), float("inf"),
)  # fmt: skip
"""What may stand in place of a value of a configuration."""

ODD_DOCUMENTS = (
    b"[]",
    b"null",
    b"3",
    b'"x"',
    b"{}",
    b"{",
    b'{"a": 1,}',
    b"\xff\xfe{}",
    b"[" * 5000,
)
"""What may stand in place of a JSON object."""


def files(folder: Path) -> list[Path]:
    """The files of a model folder, but for notes."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")


def spots(content: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys and numbers that lead to each value of a JSON document; of lists, to the first."""
    found = [at] if at else []
    if isinstance(content, dict):
        for key in list(content)[:60]:
            found += spots(content[key], (*at, key))
    elif isinstance(content, list) and content:
        found += spots(content[0], (*at, 0))
    return found


def put(path: Path, spot: tuple[Any, ...], value: Any) -> None:
    """Put a value in the place of another in a JSON file."""
    content = json.loads(path.read_text())
    inner = content
    for key in spot[:-1]:
        inner = inner[key]
    inner[spot[-1]] = value
    path.write_text(json.dumps(content))


def drop(path: Path, spot: tuple[Any, ...]) -> None:
    """Leave a value out of a JSON file."""
    content = json.loads(path.read_text())
    inner = content
    for key in spot[:-1]:
        inner = inner[key]
    del inner[spot[-1]]
    path.write_text(json.dumps(content))


def change_tensors(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite a safetensors file with its tensors, as numpy arrays, changed."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def lose_tensor(path: Path, name: str) -> None:
    """Leave one tensor out."""
    change_tensors(path, lambda tensors: tensors.pop(name))


def reshape_tensor(path: Path, name: str) -> None:
    """Give one tensor a row more along its first side; a single number becomes two."""

    def longer(tensors: dict[str, Any]) -> None:
        rows = tensors[name].reshape(1) if tensors[name].ndim == 0 else tensors[name]
        tensors[name] = np.concatenate([rows, rows[:1]])

    change_tensors(path, longer)


def add_tensor(path: Path, name: str) -> None:
    """Put one tensor in that the network does not have."""
    change_tensors(path, lambda tensors: tensors.update({name: np.zeros(3, np.float32)}))


def put_number(path: Path, name: str, value: float) -> None:
    """Put a value in the place of the first number of one tensor."""
    change_tensors(path, lambda tensors: tensors[name].reshape(-1).__setitem__(0, value))


def tensor_names(path: Path) -> list[str]:
    """The tensors of a safetensors file."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as opened:
        return sorted(opened.keys())


def shard(path: Path, n_shards: int = 2) -> Path:
    """Cut a safetensors file into shards; return their index."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(path)
    names = sorted(tensors)
    places = {}
    for number in range(n_shards):
        name = f"{path.stem}-{number + 1:05d}-of-{n_shards:05d}.safetensors"
        part = {key: tensors[key] for key in names[number::n_shards]}
        save_file(part, path.with_name(name), metadata={"format": "pt"})
        places |= dict.fromkeys(part, name)
    path.unlink()
    index = path.with_name(f"{path.name}.index.json")
    size = sum(tensor.nbytes for tensor in tensors.values())
    index.write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": places}))
    return index


def damage(folder: Path, rng: random.Random) -> str:
    """Spoil a model folder at random; say how."""
    path = rng.choice(files(folder))
    name = path.relative_to(folder).as_posix()
    kinds = ["file"]
    kinds += ["value", "value", "drop", "document"] if path.suffix == ".json" else []
    kinds += ["lose", "reshape", "add", "shard"] if path.suffix == ".safetensors" else []
    kind = rng.choice(kinds)
    if kind == "file":
        how = rng.choice(list(FILE_DAMAGES))
        FILE_DAMAGES[how](path)
        return f"{name}: {how}"
    if kind == "document":
        document = rng.choice(ODD_DOCUMENTS)
        path.write_bytes(document)
        return f"{name} := {document[:20]!r}"
    if kind in ("value", "drop"):
        spot = rng.choice(spots(json.loads(path.read_text())) or [("new",)])
        if kind == "drop" and spot != ("new",):
            drop(path, spot)
            return f"{name} without {spot}"
        value = rng.choice(ODD_VALUES)
        put(path, spot, value)
        return f"{name} {spot} := {value!r}"
    tensor = rng.choice(tensor_names(path))
    if kind == "shard":
        index = shard(path)
        value = rng.choice(["../x.safetensors", "/etc/passwd", "x.safetensors", "x.bin", 3, None])
        put(index, ("weight_map", tensor), value)
        return f"{index.name}: {tensor} in {value!r}"
    if kind == "add":
        tensor = f"{tensor}_more"
    {"lose": lose_tensor, "reshape": reshape_tensor, "add": add_tensor}[kind](path, tensor)
    return f"{name}: {kind} {tensor}"
