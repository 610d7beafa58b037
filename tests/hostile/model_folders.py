"""Model folders of strangers: with code in them, and damaged ones.

A builder of tests/support/tiny_models writes a good folder; the functions here spoil it.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

_CONFIGS = ("config.json", "tokenizer_config.json", "open_clip_config.json", "model_index.json")


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object; None removes one."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


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
