"""One run in MLflow: the calls that make it, fill it and end it. Each may be repeated."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from zsd_ray.records.redaction import reason
from zsd_ray.results.tracking.mlflow_file import (
    BrokenFileError,
    alone_with,
    file_of,
    is_busy,
    make_file,
)
from zsd_ray.results.tracking.mlflow_names import (
    LONGEST_NAME,
    LONGEST_PARAM,
    LONGEST_TAG,
    fit_name,
    fit_value,
)
from zsd_ray.storage.retry import is_transient

_SERVER_ERROR, _TOO_MANY_REQUESTS = 500, 429

Status = Literal["FINISHED", "FAILED", "KILLED"]
Point = tuple[str, float, int, int]
"""A metric's name and value, when it was so (ms since 1970), and the step."""


class MlflowRun:
    """A new run, or that of an earlier session, which is resumed.

    Attributes:
        id: its id in MLflow, once it is started.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        run_id: str | None,
    ) -> None:
        self.id = run_id
        self._uri = uri
        self._experiment = experiment
        self._name = fit_value(name, LONGEST_NAME)
        self._params = {fit_name(key): fit_value(v, LONGEST_PARAM) for key, v in params.items()}
        self._tags = dict(tags)

    def start(self, stop: threading.Event) -> None:
        """Find or make the run, and log its parameters and tags.

        Args:
            stop: ends the waiting for other processes.
        """
        _settle()
        from mlflow.entities import Param, RunTag
        from mlflow.exceptions import MlflowException

        experiment_id = self._open(stop)
        known: dict[str, str] = {}
        try:
            if self.id is not None:
                known = self._client.get_run(self.id).data.params
                self._client.update_run(self.id, status="RUNNING")
        except MlflowException as error:
            if may_pass(error, self._uri):
                raise
            self.id = None  # another server than last time: a run of its own there
        if self.id is None:
            self.id = self._client.create_run(experiment_id, run_name=self._name).info.run_id
        params = self._params
        # MLflow refuses to change a param; one that differs from an earlier session becomes a tag.
        changed = {k: v for k, v in params.items() if k in known and known[k] != v}
        tags = self._tags | {f"resumed.{key}": value for key, value in changed.items()}
        self._client.log_batch(
            self.id,
            params=[Param(key, value) for key, value in params.items() if key not in known],
            tags=[RunTag(key, fit_value(value, LONGEST_TAG)) for key, value in tags.items()],
        )

    def log(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(fit_name(name), *point) for name, *point in points]
        self._client.log_batch(self.id, metrics=metrics)

    def finish(
        self,
        totals: Sequence[Point],
        artifacts: Mapping[str, str | bytes],
        status: Status,
        ended: int,
    ) -> None:
        """Log the last metrics and artifacts (text, or any file), and end the run.

        Args:
            ended: end of the work, in ms since 1970.
        """
        self.log(totals)
        for name, content in artifacts.items():
            if isinstance(content, str):
                self._client.log_text(self.id, content, name)
                continue
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, name)
                file.write_bytes(content)
                self._client.log_artifact(self.id, str(file))
        self._client.set_terminated(self.id, status, ended)

    def _open(self, stop: threading.Event) -> str:
        """Reach the server, or the file with all its tables; return the experiment's id there."""
        from mlflow import MlflowClient

        file = file_of(self._uri)
        if file is None:
            self._client = MlflowClient(self._uri)
            return self._experiment_id(None)
        file = file.absolute()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with alone_with(file, stop):
                make_file(file, stop)
                self._client = MlflowClient(self._uri)
                return self._experiment_id((file.parent / "mlartifacts").as_uri())
        except Exception as error:
            if isinstance(error, BrokenFileError) or may_pass(error, self._uri):
                raise
            raise BrokenFileError(file, reason(error)) from error

    def _experiment_id(self, artifacts: str | None) -> str:
        """Return the id of the named experiment; a new one keeps its files at `artifacts`."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            try:
                made: str = self._client.create_experiment(self._experiment, artifacts)
                return made
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run made it meanwhile
                    raise
            found = self._client.get_experiment_by_name(self._experiment)
        return str(found.experiment_id)


def may_pass(error: BaseException, uri: str) -> bool:
    """Return whether MLflow at `uri` may accept the same call later."""
    if is_busy(error):  # a SQLite file to which others write
        return True
    if uri.lower().startswith(("sqlite", "file:")):
        return False
    import requests
    from mlflow.exceptions import InvalidUrlException, MlflowException

    if isinstance(error, InvalidUrlException):
        return False
    status: int | None = None
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()  # 500 where there was no connection
    elif isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
    elif isinstance(error, requests.ConnectionError | requests.Timeout):
        return True
    if status is None:
        return is_transient(error)
    return status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS


def _settle() -> None:
    """Set MLflow's environment variables before it is imported."""
    # The tracker asks again, and a call should not be held for minutes meanwhile.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # we print it
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Its log of errors has tracebacks, and repeats the error that it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
