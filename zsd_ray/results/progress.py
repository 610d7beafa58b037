"""The progress of a run, from the scheduler's counters."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from zsd_ray.stats.intervals import Interval, wilson

_WINDOW_SECONDS = 10.0


@dataclass(frozen=True)
class Progress:
    """The progress of a run at one time. Counts of images include earlier, interrupted sessions.

    stage: the stage before the run's own images that this is about; else None.
    """

    n_images: int
    n_decided: int
    n_errors: int
    n_labelled: int
    n_correct: int
    n_scored: int
    evaluations_per_second: float
    images_per_second: float
    n_workers: int
    seconds: float
    stage: str | None = None

    @property
    def accuracy(self) -> float | None:
        return self.n_correct / self.n_labelled if self.n_labelled else None

    @property
    def interval(self) -> Interval:
        return wilson(self.n_correct, self.n_labelled)

    @property
    def seconds_left(self) -> float | None:
        """Return the remaining time at the present rate; None while nothing is decided."""
        left = self.n_images - self.n_decided
        if left == 0:
            return 0.0
        return left / self.images_per_second if self.images_per_second else None


@dataclass(frozen=True)
class Before:
    """The counts of earlier sessions of the same run."""

    n_decided: int = 0
    n_errors: int = 0
    n_labelled: int = 0
    n_correct: int = 0


class ProgressMeter:
    """Turns counters into Progress; rates are those of the last seconds.

    Counters may go back a little, if a restarted scheduler knows less than the last one did. Rates
    count all increases: repeated work is work.
    """

    def __init__(
        self, n_images: int, before: Before, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._n_images = n_images
        self._before = before
        self._clock = clock
        self._start = clock()
        self._last = (0, 0)  # the last counts of evaluations and images
        self._sum = (0, 0)  # the sums of all their increases
        self._window: deque[tuple[float, int, int]] = deque()
        self.seconds_to_first_score: float | None = None

    @property
    def seconds(self) -> float:
        """Return the seconds since this session began."""
        return self._clock() - self._start

    def read(
        self,
        *,
        decided: int,
        errors: int,
        labelled: int,
        correct: int,
        n_scored: int,
        n_workers: int,
    ) -> Progress:
        """Take this session's current counters, and return its progress."""
        now = self._clock()
        if n_scored and self.seconds_to_first_score is None:
            self.seconds_to_first_score = now - self._start
        last, self._last = self._last, (n_scored, decided)
        risen = [max(0, new - old) for new, old in zip(self._last, last, strict=True)]
        self._sum = (self._sum[0] + risen[0], self._sum[1] + risen[1])
        if n_scored:
            self._window.append((now, *self._sum))
        while len(self._window) > 2 and now - self._window[0][0] > _WINDOW_SECONDS:
            self._window.popleft()
        evaluations = images = 0.0
        if len(self._window) > 1:
            then, scored_then, decided_then = self._window[0]
            elapsed = max(now - then, 1e-9)
            evaluations = (self._sum[0] - scored_then) / elapsed
            images = (self._sum[1] - decided_then) / elapsed
        before = self._before
        return Progress(
            n_images=self._n_images,
            n_decided=before.n_decided + decided,
            n_errors=before.n_errors + errors,
            n_labelled=before.n_labelled + labelled,
            n_correct=before.n_correct + correct,
            n_scored=n_scored,
            evaluations_per_second=evaluations,
            images_per_second=images,
            n_workers=n_workers,
            seconds=now - self._start,
        )
