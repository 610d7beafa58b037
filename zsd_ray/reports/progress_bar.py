"""The live progress line of a run or a training; in a log, a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from zsd_ray.results.progress import Progress

_LOG_SECONDS = 30.0


class ProgressBar:
    """A context manager; call `run`, `training` or `passes` at every update.

    In a log, a line every half minute replaces the bar.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._logged = clock()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, text="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def run(self, progress: Progress) -> None:
        """Show images done, accuracy with its interval, evaluations/s, workers, time left."""
        name = f"{progress.stage}: images" if progress.stage else "images"
        self._show(name, progress.n_decided, progress.n_images, describe(progress))

    def stage(self, stage: str, done: int, steps: int, text: str) -> None:
        """Show the steps of one stage."""
        self._show(stage, done, steps, text)

    def passes(self, done: int, total: int) -> None:
        """Show the passes over images of a check."""
        self._show("passes", done, total, "")

    def _show(self, name: str, done: int, total: int, text: str) -> None:
        self._bar.update(self._task, description=name, completed=done, total=total, text=text)
        if not self._console.is_terminal and self._clock() - self._logged >= _LOG_SECONDS:
            self._logged = self._clock()
            line = f"{name} {done:,} of {total:,} | {text}"
            self._console.print(line, soft_wrap=True, markup=False)


def describe(progress: Progress) -> str:
    """Return the current figures in one line."""
    parts = []
    if progress.accuracy is not None:
        low, high = progress.interval
        parts.append(f"accuracy {progress.accuracy:.1%} [{low:.1%}, {high:.1%}]")
    if progress.evaluations_per_second:
        parts.append(f"{progress.evaluations_per_second:,.0f} evaluations/s")
    if progress.n_workers:
        parts.append(f"{progress.n_workers} {'worker' if progress.n_workers == 1 else 'workers'}")
    if progress.n_errors:
        parts.append(f"{progress.n_errors} errors")
    if not progress.n_scored:
        parts.append("workers are loading the model")
    elif progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return " | ".join(parts)


def duration(seconds: float) -> str:
    """Format seconds as 42 s, 3:05 or 2:03:05."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
