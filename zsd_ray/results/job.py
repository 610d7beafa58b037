"""One session of a job with an output: the common part of run, train, probe, generate, fid, sweep.

During planning, stores are retried for seconds only; during the work, for as long as an outage may
last. However a job ends, its record and MLflow say so.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeVar

from zsd_ray.config.identity import differences, hash_of, settings
from zsd_ray.config.run import TrackingConfig
from zsd_ray.config.storage import StorageConfig
from zsd_ray.records.errors import StoreError, UserError
from zsd_ray.records.redaction import redacted
from zsd_ray.results.output import Output
from zsd_ray.results.places import refuse_relative
from zsd_ray.results.provenance import git_commit
from zsd_ray.results.record_file import Status
from zsd_ray.results.tracking.tracker import TrackedRun, Tracker, start_tracker, tracked_before
from zsd_ray.settings.section import Section
from zsd_ray.storage.store import Store

PLAN_SECONDS = 10.0
"""How long a store that does not answer is asked again before anything has begun."""

OnWarning = Callable[[str], None]
"""Called with one line when something goes wrong that does not stop the work."""

_MLFLOW_STATUS: Mapping[Status, Literal["FAILED", "KILLED"]] = {
    "failed": "FAILED",
    "interrupted": "KILLED",
}
Result = TypeVar("Result")


class Identified(Protocol):
    """A record that holds what its numbers depend on."""

    @property
    def identity(self) -> str: ...

    @property
    def identity_parts(self) -> dict[str, Any]: ...


class HasPath(Protocol):
    """An output section."""

    @property
    def path(self) -> str: ...


class JobConfig(Protocol):
    """A configuration of any job."""

    @property
    def output(self) -> HasPath: ...

    @property
    def storage(self) -> StorageConfig: ...

    @property
    def tracking(self) -> TrackingConfig: ...


@contextmanager
def planning(config: Section) -> Iterator[Store]:
    """Provide the store of a job, for everything before its first write.

    A mistyped endpoint should not be retried like an outage, so the retry time is short here.

    Args:
        config: a `JobConfig`.

    Raises:
        UserError: as for `refuse_relative`.
    """
    refuse_relative(config.model_dump(mode="json"))
    job: JobConfig = config  # type: ignore[assignment]
    store = Store(job.storage)
    with store.impatient(PLAN_SECONDS):
        yield store


def refuse_other(
    output: Output,
    what: str,
    previous: Identified | None,
    parts: Mapping[str, Any],
    advice: str = "choose another output.path",
) -> None:
    """Refuse an output that holds other work of the same kind.

    Args:
        what: that other work, such as "another run".
        previous: the record in the output, if there is one.
        parts: the values that this work's numbers depend on.

    Raises:
        UserError: it names each difference.
    """
    if previous is not None and previous.identity != hash_of(parts):
        changes = "; ".join(differences(previous.identity_parts, redacted(dict(parts))))
        raise UserError(
            f"output.path {redacted(output.path)} belongs to {what} ({changes}); {advice}"
        )


class Job(ABC, Generic[Result]):
    """One session of a job, which `run` does.

    Args:
        store: of `planning`.
        identity: hash of everything that the numbers depend on, for MLflow.
        run_id: of an earlier session's MLflow run, to resume.
    """

    def __init__(
        self,
        config: Section,
        store: Store,
        on_warning: OnWarning,
        identity: str | None = None,
        run_id: str | None = None,
    ) -> None:
        job: JobConfig = config  # type: ignore[assignment]
        self._config = config
        self._tracking = job.tracking
        self.output = Output(job.output.path, store)
        self._on_warning = on_warning
        self._identity = identity
        self._run_id = run_id
        self._tracker: Tracker | None = None
        self._begun = time.monotonic()

    @abstractmethod
    def work(self) -> Status:
        """Do the work; returns "finished" or "incomplete"."""

    @abstractmethod
    def end(self, status: Status) -> Result:
        """Write the results so far, however the work ended."""

    def run(self) -> Result:
        """Do the work, and write its results.

        Raises:
            KeyboardInterrupt: the work done so far is written.
            StoreError: raised by the work, or its results could not be written.
        """
        status: Status = "failed"
        try:
            status = self.work()
        except KeyboardInterrupt:
            status = "interrupted"
            # A user waits: writes are tried now with a short retry time.
            self.output.store.seconds = PLAN_SECONDS
            raise
        finally:
            try:
                result = self.end(status)
            except StoreError as error:
                if status not in _MLFLOW_STATUS:
                    raise
                # The error of the work says more than the failure to write its results.
                self._on_warning(f"the end of this work is not written down: {error}")
        return result

    @property
    def seconds(self) -> float:
        """Return the seconds since this session began."""
        return time.monotonic() - self._begun

    # ---- MLflow

    def params(self) -> Mapping[str, Any]:
        """Return the parameters for MLflow."""
        return settings(self._config)

    def tags(self) -> Mapping[str, str]:
        """Return the tags for MLflow."""
        tags = {} if self._identity is None else {"zsd_ray.identity": self._identity}
        commit = git_commit()
        if commit is not None:
            tags["mlflow.source.git.commit"] = tags["git_commit"] = commit
        return tags

    def tracker(self) -> Tracker | None:
        """Return the MLflow run, started on the first call; None if tracking is off."""
        if self._tracker is None:
            self._tracker = start_tracker(
                self._tracking,
                self.output.path,
                self.params(),
                self._on_warning,
                self.tags(),
                self._run_id,
            )
        return self._tracker

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log a point of each curve."""
        tracker = self.tracker()
        if tracker is not None:
            tracker.log(metrics, step)

    def close_tracker(
        self,
        status: Status,
        metrics: Mapping[str, float],
        artifacts: Mapping[str, str | bytes],
        ended: datetime | None = None,
    ) -> TrackedRun | None:
        """End the MLflow run.

        Args:
            ended: end of the work; None: now.
        """
        tracker = self.tracker()
        if tracker is None:
            return None
        return tracker.close(metrics, artifacts, _MLFLOW_STATUS.get(status, "FINISHED"), ended)

    def tracked_before(self) -> TrackedRun | None:
        """Return the MLflow run of the session that finished the work; MLflow is not asked."""
        return tracked_before(self._tracking, self.output.path, self._run_id)
