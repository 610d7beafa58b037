"""Independent tasks, done by any executor: probes, samples and moments of a whole data set consist
of them.

A task holds everything that its result depends on, so repeating it elsewhere gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

PieceT = TypeVar("PieceT", contravariant=True)
ResultT = TypeVar("ResultT", covariant=True)

Work = Callable[[PieceT], ResultT]
"""Does one piece. Loading its model is what making it takes."""


class DoAll(Protocol):
    """Does all tasks, in this process (`do_here`) or on a cluster (`runtime.crew.Crew`)."""

    def __call__(self, make: Callable[[], Work[Any, Any]], pieces: Sequence[Any]) -> Iterator[Any]:
        """Yield the result of each task, in the order of the tasks.

        Args:
            make: picklable; called once in each working process.
        """


def do_here(make: Callable[[], Work[Any, Any]], pieces: Sequence[Any]) -> Iterator[Any]:
    """Do all tasks in this process."""
    if not pieces:
        return
    work = make()
    for piece in pieces:
        yield work(piece)


class Counted:
    """A `DoAll` that counts the tasks that it was given."""

    def __init__(self, do_all: DoAll) -> None:
        self.n_pieces = 0
        self._do_all = do_all

    def __call__(self, make: Callable[[], Work[Any, Any]], pieces: Sequence[Any]) -> Iterator[Any]:
        self.n_pieces += len(pieces)
        return self._do_all(make, pieces)
