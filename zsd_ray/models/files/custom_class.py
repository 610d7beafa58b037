"""A user's own model class: found, checked and hashed before anything is loaded.

`model.path` is `package.module:Class` or `file.py:Class`. Nothing here imports torch, except
through the user's own module.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import ModelFiles
from zsd_ray.models.conditioning.labels import match
from zsd_ray.models.files import source
from zsd_ray.records.errors import UserError, last_line
from zsd_ray.storage.store import Store

_FORM = "model.family custom takes package.module:Class or file.py:Class"
_IN_HOME = re.compile(r"~[^/]*/+[^/]")
_ELSEWHERE = re.compile(r"\w[\w+.:-]*://\S+")
"""A text that is a URL, and not one with a URL in it."""


class CustomFiles(ModelFiles):
    """The source file of a user's own class."""

    def check(self, config: ModelConfig, store: Store) -> Path:
        """Find the source file of the class's module, which is not run.

        Raises:
            UserError: there is none.
        """
        module, name = _parts(config)
        if not module or not name.isidentifier():
            raise UserError(f"model.path {config.path} names no class: {_FORM}")
        if module.endswith(".py"):
            path = Path(module).expanduser()
            if not path.is_file():
                raise UserError(f"model.path {config.path}: there is no file {module}; {_FORM}")
            return path
        try:
            spec = importlib.util.find_spec(module)
        except Exception as error:  # finding a.b runs a, which is the user's
            raise UserError(f"model.path {config.path}: {_said(error)}; {_FORM}") from error
        if spec is None or spec.origin is None or not Path(spec.origin).is_file():
            raise UserError(f"model.path {config.path}: there is no module {module}; {_FORM}")
        return Path(spec.origin)

    def label_numbers(self, folder: Path, config: ModelConfig, prompts: Sequence[str]) -> list[int]:
        """Return the label of each prompt; none if the class takes text, or has labels only as an
        object.

        Raises:
            UserError: the class is missing, or has no such labels.
        """
        if self.takes_null_prompt(folder, config):
            return []
        labels = getattr(load_class(config), "labels", None)
        if not isinstance(labels, list | tuple):
            return []
        texts = dict(enumerate(names_of(labels, config)))
        return [int(number) for number in match(texts, len(labels), prompts)]

    def takes_null_prompt(self, folder: Path, config: ModelConfig) -> bool:
        """Whether the class takes any prompt, whatever its `labels` are; raises UserError."""
        return hasattr(load_class(config), "encode_prompts")

    def fingerprint(self, folder: Path, config: ModelConfig, store: Store) -> str:
        """Hash the source file, the class's name, the kwargs, and the files that those name."""
        digest = hashlib.blake2b(digest_size=16)
        kwargs = json.dumps(config.kwargs, sort_keys=True, default=str)
        digest.update(f"{_parts(config)[1]}\0{kwargs}\0".encode())
        digest.update(source.file_fingerprint("source", folder).encode())
        for key, value in _texts(config.kwargs):
            path = _named(value)
            if path is not None and path.is_file():
                digest.update(source.file_fingerprint(key, path).encode())
            elif path is not None:
                digest.update(f"{key}\0{source.whole_fingerprint(path)}".encode())
        return digest.hexdigest()

    def hashed(self, folder: Path, config: ModelConfig) -> list[str]:
        """Describe what `fingerprint` reads, and which of the kwargs' texts name files that it does
        not.

        Returns:
            One line each for the class's file, files and folders that kwargs name, texts that only
            begin a file's name, and those that name files elsewhere.
        """
        lines = [str(folder)]
        for key, value in _texts(config.kwargs):
            path, name = _named(value), f"model.kwargs{key} {value}"
            if path is None:
                if _ELSEWHERE.fullmatch(value):
                    lines.append(f"not the content of {name}, which is elsewhere")
                elif begun := _begun(value):
                    lines.append(f"not {begun[0].name}: {name} is no whole name of a file")
            elif path.is_file():
                lines.append(name)
            else:
                lines.append(f"{name} (a folder of {len(source.files_of(path)):,} files)")
        return lines


def names_of(labels: object, config: ModelConfig) -> Sequence[str]:
    """The `labels` of a class or a module, if they are a list of names.

    Raises:
        UserError: they are not a list of names.
    """
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise UserError(
            f"model.path {config.path}: labels is of type {type(labels).__name__}; a list of names "
            "is expected"
        )
    odd = [type(label).__name__ for label in labels if not isinstance(label, str)]
    if odd:
        raise UserError(
            f"model.path {config.path}: labels holds values of type {odd[0]}; each is a name, "
            "which is text: '7' instead of 7"
        )
    return labels


def _named(value: str) -> Path | None:
    """Return the file or folder that a text among the kwargs names, if any."""
    try:
        for path in _paths(value):
            if path.is_file() or path.is_dir():
                return path
    except (OSError, ValueError):  # a text that is too long for a name, or has a null
        pass
    return None


def _paths(value: str) -> list[Path]:
    """Return the paths that a text may name: as it is, or with `~` expanded, as the class may
    do."""
    if not value:
        return []
    paths = [Path(value)]
    # A lone ~ is rather a sign between words than all of a home.
    if _IN_HOME.match(value):
        with suppress(RuntimeError):  # nobody of that name
            paths.append(paths[0].expanduser())
    return paths


def _begun(value: str) -> list[Path]:
    """Return files whose names are a text plus an extension: weights/best.pth for
    "weights/best"."""
    try:
        for path in _paths(value):
            if path.name and path.parent.is_dir():
                return sorted(file for file in path.parent.iterdir() if file.stem == path.name)
    except (OSError, ValueError):
        pass
    return []


def load_class(config: ModelConfig) -> Any:
    """Import the user's class.

    Raises:
        UserError: its module fails, or has no such class.
    """
    path, name = CustomFiles().check(config, Store()), _parts(config)[1]  # in no store
    try:
        module = _import(_parts(config)[0], path)
    except Exception as error:  # it is the user's own
        raise UserError(
            f"model.path {config.path}: its module fails with {_said(error)}"
        ) from error
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        there = f"; it has {', '.join(sorted(classes))}" if classes else ""
        raise UserError(f"model.path {config.path}: {path.name} has no class {name}{there}")
    return found


def make(config: ModelConfig) -> Any:
    """Call the user's class with `model.kwargs`.

    Raises:
        UserError: it fails.
    """
    kind = load_class(config)
    try:
        return kind(**config.kwargs)
    except Exception as error:  # it is the user's own
        raise UserError(
            f"model.path {config.path}: {kind.__name__}(**model.kwargs) fails with {_said(error)}"
        ) from error


def _parts(config: ModelConfig) -> tuple[str, str]:
    module, _, name = config.path.rpartition(":")
    return module, name


def _import(module: str, path: Path) -> ModuleType:
    if not module.endswith(".py"):
        return import_module(module)
    # By content, so that an edited file is not taken for the one that was imported before.
    name = f"zsd_ray_custom_{source.file_fingerprint(str(path.resolve()), path)}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made  # dataclasses and pickle look it up there
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[name]
        raise
    return made


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts in nested kwargs, each with its location, in a fixed order."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name in sorted(value, key=str):
            yield from _texts(value[name], f"{key}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{key}.{number}")


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {last_line(error)}"
