"""Terminal output of commands, and suppression of the output of libraries."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact, redacted

if TYPE_CHECKING:
    from rich.console import Console

    from zsd_ray.results.tracking.tracker import TrackedRun


def print_place(console: Console, name: str, place: str) -> None:
    console.print(f"{name:11}{redact(place)}", soft_wrap=True, markup=False)


def print_tracked(console: Console, tracked: TrackedRun | None) -> None:
    if tracked is not None:
        place = f"{tracked.uri} experiment {tracked.experiment!r} run {tracked.run_id}"
        print_place(console, "MLflow", place)


def print_json(tree: dict[str, Any]) -> None:
    print(json.dumps(redacted(tree), indent=2, ensure_ascii=False))


def write_page(path: str, page: str) -> None:
    """Write the page that --html asks for; an existing file is replaced only if it is a page."""
    file = Path(path)
    try:
        if file.is_file() and not _begins_as_page(file):
            raise UserError(
                f"--html {path} cannot be written: what is there is no page, and is kept; choose "
                "another file"
            )
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--html {path} cannot be written: {error.strerror}") from error


def _begins_as_page(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(15).lower() in (b"", b"<!doctype html>")


def make_console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(highlight=False, stderr=stderr)


def warn(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(
        f"warning: {redact(text)}", style="yellow", markup=False, soft_wrap=True
    )


def quieten() -> None:
    """Suppress the progress bars and advice of libraries."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    if logging.lastResort is not None:  # log records of libraries without a configured handler
        logging.lastResort.setFormatter(_WithoutSecrets())


class _WithoutSecrets(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Print a warning as one line, without its place in the code."""
    print(f"warning: {redact(str(message))}", file=sys.stderr)
