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
    """An error whose text is shown to people: secrets in it are hidden."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class UserError(_ShownError, ValueError):
    """Bad input: one line that says what came, what is allowed and what to do (exit code 2)."""


class DamagedFile(UserError):  # noqa: N818 - the file is the fault
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
        """Return the error for a library's complaint about the content, in one line."""
        why = redact(" ".join(str(error).split())[:160]) or type(error).__name__
        return cls(shown, why, advice)

    def __reduce__(self) -> tuple[type[DamagedFile], tuple[str, str, str]]:
        return type(self), (self.shown, self.why, self.advice)


class RunBrokenError(_ShownError, RuntimeError):
    """A run cannot continue (exit code 1); decided rows are kept; the same command resumes it."""


class ImageError(_ShownError, ValueError):
    """One image cannot be used. It becomes a decision row with this text; the run continues."""


class StoreError(_ShownError, OSError):
    """A store did not answer within the retry time; its content may be intact."""


class WriteError(StoreError):
    """A file of an output cannot be written: a full disk, a quota, a folder that is gone."""


def some(names: Sequence[str]) -> str:
    """Return the first three of many names, for a one-line message."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def last_line(error: BaseException) -> str:
    """Return the last line of an error from another process: the error without its traceback."""
    return redact(str(error).strip().split("\n")[-1].strip())[:300]
