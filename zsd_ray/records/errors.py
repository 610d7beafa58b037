"""Errors that a user can mend, and the exit codes of the command line."""

from __future__ import annotations

from collections.abc import Sequence

from zsd_ray.records.redaction import redact

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INCOMPLETE = 3
EXIT_UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130


class _ShownError(Exception):
    """An error whose text is for people: it tells no secret, whatever it was made of."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class UserError(_ShownError, ValueError):
    """Bad input: one line that says what came, what is allowed and what to do (exit code 2)."""


class DamagedFile(UserError):  # noqa: N818 - what is wrong is the file
    """A file of an output does not hold what its name promises.

    Args:
        shown: the file's path or URL, without passwords; why: what is wrong with it.
        advice: what to do, as the end of the sentence.
    """

    def __init__(self, shown: str, why: str, advice: str) -> None:
        super().__init__(f"{shown} is damaged ({why}); {advice}")
        self.shown, self.why, self.advice = shown, why, advice

    @classmethod
    def of(cls, error: BaseException, shown: str, advice: str) -> DamagedFile:
        """What a library said of the content, in one line."""
        why = redact(" ".join(str(error).split())[:160]) or type(error).__name__
        return cls(shown, why, advice)

    def __reduce__(self) -> tuple[type[DamagedFile], tuple[str, str, str]]:
        return type(self), (self.shown, self.why, self.advice)


class RunBrokenError(_ShownError, RuntimeError):
    """A run cannot go on (exit code 1); what was decided is kept, and the same command goes on."""


class ImageError(_ShownError, ValueError):
    """One image cannot be used. It becomes a decision row with this text; the run goes on."""


class StoreError(_ShownError, OSError):
    """A store did not answer for as long as it was asked; what it holds may be all right."""


class WriteError(StoreError):
    """A file of an output cannot be written: a full disk, a quota, a folder that is gone."""


def some(names: Sequence[str]) -> str:
    """The first three of many names, for a one-line message."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def last_line(error: BaseException) -> str:
    """The last line of an error that crossed a process: what was raised there, without trace."""
    return redact(str(error).strip().split("\n")[-1].strip())[:300]
