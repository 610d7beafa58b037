"""The live progress line of a run or a training; nothing where the output is no terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from zsd_ray.results.progress import Progress


class ProgressBar:
    """A context manager; call `run` or `training` as often as there is news."""

    def __init__(self, console: Console) -> None:
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
        self._bar.update(
            self._task,
            description="images",
            completed=progress.n_decided,
            total=progress.n_images,
            text=describe(progress),
        )

    def training(self, stage: str, done: int, steps: int, text: str) -> None:
        """Show the steps of one stage."""
        self._bar.update(self._task, description=stage, completed=done, total=steps, text=text)


def describe(progress: Progress) -> str:
    """The figures of a moment in one line."""
    parts = []
    if progress.accuracy is not None:
        low, high = progress.interval
        parts.append(f"accuracy {progress.accuracy:.1%} [{low:.1%}, {high:.1%}]")
    if progress.evaluations_per_second:
        parts.append(f"{progress.evaluations_per_second:,.0f} evaluations/s")
    if progress.n_errors:
        parts.append(f"{progress.n_errors} errors")
    if not progress.n_scored:
        parts.append("workers are loading the model")
    elif progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return " | ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as 42 s, 3:05 or 2:03:05."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
