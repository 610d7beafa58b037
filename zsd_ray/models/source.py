"""Where a model's files are: built in, a folder, an fsspec URL, or the model hub.

Nothing heavy is imported here, so that a bad path is refused in milliseconds.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from zsd_ray.spec.errors import UserError

_ASSETS = Path(__file__).parent.parent / "assets"
_FILES = ("*.json", "*.txt", "*.safetensors")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_SAMPLE = 1 << 16


def resolve(path: str) -> Path:
    """Return a local folder with the model's files, fetching them where they are elsewhere.

    Raises:
        UserError: there is no such model.
    """
    if path.startswith("builtin:"):
        folder = _ASSETS / path.removeprefix("builtin:")
        if not re.fullmatch(r"builtin:[\w-]+", path) or not folder.is_dir():
            known = ", ".join(f"builtin:{p.name}" for p in sorted(_ASSETS.iterdir()) if p.is_dir())
            raise UserError(f"model.path {path} is not a built-in model; there are: {known}")
        return folder
    if "://" in path:
        return _fetch_url(path)
    if Path(path).is_dir():
        return Path(path)
    if not Path(path).is_absolute() and _HUB_NAME.fullmatch(path):
        return _fetch_hub(path)
    raise UserError(f"model.path {path} is not a folder; give a diffusers pipeline folder")


def fingerprint(folder: Path) -> str:
    """Hash the model's files: names, sizes, and the first and last 64 KiB of each.

    Trained weights that differ do so everywhere, so this tells models apart without reading
    gigabytes.
    """
    digest = hashlib.blake2b(digest_size=16)
    paths = sorted(path for pattern in _FILES for path in folder.rglob(pattern))
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read())
    return digest.hexdigest()


def _fetch_url(url: str) -> Path:
    import fsspec

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zsd_ray" / "models"
    target = cache / hashlib.blake2b(url.encode(), digest_size=12).hexdigest()
    try:
        fs, root = fsspec.core.url_to_fs(url)
        names = [name for name in fs.find(root) if Path(name).suffix in {p[1:] for p in _FILES}]
        if not names:
            raise UserError(f"model.path {url} holds no model files (.json, .safetensors)")
        for name in names:
            local = target / os.path.relpath(name, root)
            if not local.is_file() or local.stat().st_size != fs.size(name):
                local.parent.mkdir(parents=True, exist_ok=True)
                part = local.with_name(f".{local.name}.{os.getpid()}")
                fs.get_file(name, str(part))
                part.replace(local)
    except (OSError, ImportError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"model.path {url} cannot be read: {' '.join(str(error).split())}"
        ) from error
    return target


def _fetch_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name,
            allow_patterns=[*_FILES],
            # Copies of the same weights in other precisions, and training-only ones.
            ignore_patterns=["*.fp16.*", "*non_ema*", "safety_checker/*"],
        )
    except Exception as error:  # the hub's client raises many kinds, and those of its transport
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"model.path {name} is not a folder here, and the hub does not give it ({reason})"
        ) from error
    return Path(folder)


def check_pipeline_folder(folder: Path, components: tuple[str, ...]) -> None:
    """Raise UserError, naming what is missing, unless `folder` is a whole diffusers pipeline."""
    if not (folder / "model_index.json").is_file():
        raise UserError(
            f"model.path {folder} is not a diffusers pipeline folder: it has no model_index.json"
        )
    missing = [name for name in components if not (folder / name).is_dir()]
    if missing:
        raise UserError(f"model.path {folder} lacks the folders {', '.join(missing)}")
    for name in components:
        has_config = (folder / name / "config.json").is_file()
        if has_config and not any((folder / name).glob("*.safetensors")):
            raise UserError(
                f"model.path {folder}/{name} has no .safetensors file; other weight formats are "
                "not read"
            )
