"""The location of a model's files: built in, a folder, an fsspec URL, or the model hub.

Nothing heavy is imported here, so that a bad path is refused in milliseconds.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from zsd_ray.config.run import ModelConfig
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.storage.inside import name_below, path_inside
from zsd_ray.storage.store import Store

INDEX = "model_index.json"
_ASSETS = Path(__file__).parents[2] / "assets"
_TEXTS = (".json", ".txt", ".model")  # .model: the vocabulary of a T5 tokenizer
_PICKLED = (".bin",)
_SUFFIXES = (*_TEXTS, ".safetensors")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_READ_WHOLE, _STRIDE, _SAMPLE = 64 << 20, 1 << 20, 1 << 16


def resolve(config: ModelConfig, components: tuple[str, ...], store: Store) -> Path:
    """Return a local folder with the model's files, fetched if they are remote.

    Args:
        components: the subfolders to fetch of a model on the hub.
        store: how a URL is reached.

    Raises:
        UserError: there is no such model.
    """
    path = config.path
    if config.revision and not _HUB_NAME.fullmatch(path):
        raise UserError(f"model.revision is of a model on the hub, and model.path is {path}")
    if path.startswith("builtin:"):
        return _built_in(path)
    if "://" in path:
        return _fetch_url(path, config.pickle, store)
    folder = Path(os.path.expanduser(path))
    if folder.is_dir():
        return folder
    if _HUB_NAME.fullmatch(path):
        return _fetch_hub(config, components)
    raise UserError(f"model.path {path} is not a folder; give a diffusers pipeline folder")


def is_elsewhere(path: str) -> bool:
    """Whether a model is fetched: by a URL, or by a name on the hub that is no folder here."""
    if path.startswith("builtin:"):
        return False
    return "://" in path or not os.path.isdir(os.path.expanduser(path))


def fingerprint(folder: Path) -> str:
    """Hash the model's files: names, sizes, and content.

    Files up to 64 MiB are read whole; larger ones, 64 KiB of each MiB and the end. Training
    changes every tensor, so this tells models apart without reading gigabytes.
    """
    return _hash_of(folder, [path for path in _walk(folder) if _is_of_model(path)])


def whole_fingerprint(folder: Path) -> str:
    """Hash every file of a folder that a user's own class reads, whatever kind it is.

    Hidden files and compiled Python files are left out. A folder of the kinds that `fingerprint`
    knows has the same hash as there.
    """
    return _hash_of(folder, files_of(folder))


def files_of(folder: Path) -> list[Path]:
    """Return the files that `whole_fingerprint` reads, including those in linked folders."""
    return [path for path in _walk(folder) if _is_of_model(path) or _is_plain(path, folder)]


def _walk(folder: Path) -> list[Path]:
    """Yield all files in a folder, also behind links, which `rglob` does not follow."""
    found: list[Path] = []
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        found += [Path(root) / name for name in names]
    return found


def _is_of_model(path: Path) -> bool:
    return path.suffix in (*_SUFFIXES, *_PICKLED) and path.is_file()


def _is_plain(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    return path.is_file() and not any(part[0] == "." or part == "__pycache__" for part in parts)


def _hash_of(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(files):
        _add(digest, path.relative_to(folder).as_posix(), path)
    return digest.hexdigest()


def file_fingerprint(name: str, path: Path) -> str:
    """Hash one file like `fingerprint`, under a given name."""
    digest = hashlib.blake2b(digest_size=16)
    _add(digest, name, path)
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, name: str, path: Path) -> None:
    try:
        size = path.stat().st_size
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        with path.open("rb") as file:
            if size <= _READ_WHOLE:
                digest.update(file.read())
                return
            for start in [*range(0, size - _SAMPLE, _STRIDE), size - _SAMPLE]:
                file.seek(start)
                digest.update(file.read(_SAMPLE))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _built_in(path: str) -> Path:
    folder = _ASSETS / path.removeprefix("builtin:")
    if not re.fullmatch(r"builtin:[\w-]+", path) or not folder.is_dir():
        known = ", ".join(f"builtin:{p.name}" for p in sorted(_ASSETS.iterdir()) if p.is_dir())
        raise UserError(f"model.path {path} is not a built-in model; there are: {known}")
    return folder


def fetched_to(url: str) -> Path:
    """Return the local folder that `resolve` fetches the model at a URL to."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zsd_ray" / "models"
    return cache / hashlib.blake2b(url.encode(), digest_size=12).hexdigest()


def _fetch_url(url: str, pickle: bool, store: Store) -> Path:
    suffixes = (*_SUFFIXES, *_PICKLED) if pickle else _SUFFIXES
    target = fetched_to(url)
    try:
        fs, root = store.open(url)
        found = store.ask(url, lambda: fs.find(root))
        names = [name for name in found if Path(name).suffix in suffixes]
        shown = f"model.path {redact(url)}"
        # All names before the first is fetched: each is somebody else's.
        places = [path_inside(target, name_below(root, name, shown), shown) for name in names]
        for name, local in zip(names, places, strict=True):
            store.ask(url, partial(_fetch_file, fs, name, local))
        _drop_others(target, places, suffixes)
    except UserError:
        raise
    except Exception as error:  # each filesystem has errors of its own
        raise store.user_error(f"model.path {redact(url)} cannot be read", error, url) from error
    if not names:
        raise UserError(f"model.path {redact(url)} holds no model files (.json, .safetensors)")
    return target


def _drop_others(target: Path, places: Iterable[Path], suffixes: tuple[str, ...]) -> None:
    """Remove fetched files that no longer exist at the source: an old shard index would still be
    read."""
    kept = set(places)
    for path in target.rglob("*"):
        if path.suffix in suffixes and path.is_file() and path not in kept:
            path.unlink(missing_ok=True)


def _fetch_file(fs: Any, name: str, local: Path) -> None:
    """Fetch a file atomically, unless the local copy is of the same version."""
    # The store's own mark of a version: retrained weights have the same size.
    mark = local.with_name(f".{local.name}.version")
    version = str(fs.ukey(name))
    if local.is_file() and mark.is_file() and mark.read_text() == version:
        return
    local.parent.mkdir(parents=True, exist_ok=True)
    part = local.with_name(f".{local.name}.{os.getpid()}")
    fs.get_file(name, str(part))
    part.replace(local)
    mark.write_text(version)


def _fetch_hub(config: ModelConfig, components: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    name, variant = config.path, f".{config.variant}" if config.variant else ""
    kinds = (".safetensors", *(_PICKLED if config.pickle else ()))
    suffixes = [*_TEXTS, *(f"{variant}*{kind}" if variant else kind for kind in kinds)]
    try:
        folder = snapshot_download(
            name,
            revision=config.revision,
            allow_patterns=[INDEX, *(f"{part}/*{end}" for part in components for end in suffixes)],
            # Copies of the same weights in another precision, and training-only ones.
            ignore_patterns=["*non_ema*", *([] if variant else ["*.fp16.*", "*.fp16-*"])],
        )
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"model.path {name} is not a folder here, and the hub does not give it ({reason})"
        ) from error
    return Path(folder)
