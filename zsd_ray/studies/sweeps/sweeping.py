"""Sweeps: `sweep(SuiteConfig(...))`, models x data sets x methods, what `zsd-ray sweep` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from zsd_ray.config.identity import resolved
from zsd_ray.config.run import ClusterConfig, RunConfig
from zsd_ray.evaluation.evaluate import run_plan
from zsd_ray.evaluation.session import OnProgress
from zsd_ray.planning.inputs import Inputs
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.planning.plan import Plan
from zsd_ray.records.errors import DamagedFile, RunBrokenError, StoreError, UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.job import Job, OnWarning, planning
from zsd_ray.results.output import Output
from zsd_ray.results.provenance import now
from zsd_ray.results.record_file import Status
from zsd_ray.results.tracking.tracker import TrackedRun
from zsd_ray.storage.store import Store
from zsd_ray.studies.sweeps.cells import CellRun, cell_runs, result_of
from zsd_ray.studies.sweeps.suite_config import Cell, CellResult, SuiteConfig
from zsd_ray.studies.sweeps.sweep_record import SweepRecord

OnCell = Callable[[Cell, int, int], None]
"""Called with a cell that is begun, its number from 1, and how many there are."""


@dataclass(frozen=True)
class SweepResult:
    """The end of a sweep.

    output, report: paths or URLs; tracked: the MLflow run that those of the cells are under.
    """

    record: SweepRecord
    output: str
    report: str
    tracked: TrackedRun | None


@dataclass(frozen=True)
class _Checked:
    """A cell's run before it starts: its plan, or why there is none."""

    cell: Cell
    config: RunConfig
    plan: Plan | None
    result: CellResult


def sweep(
    suite: SuiteConfig,
    *,
    limit: int | None = None,
    local: bool = False,
    on_check: Callable[[int, int], None] = lambda done, total: None,
    on_cell: OnCell = lambda cell, number, total: None,
    on_progress: OnProgress | None = None,
    on_warning: OnWarning = print,
) -> SweepResult:
    """Do every run of a suite that is not done yet, and write the table.

    All cells are checked before the first starts. One that breaks off is left, and the others
    continue; the same call resumes it.

    Args:
        limit: of the images of each cell, whatever the suite says.
        local: in this process, without Ray.
        on_check: called with how many cells are checked.
        on_progress: of the cell that runs.

    Raises:
        UserError: no cell can start, or the suite is none; nothing was started.
        KeyboardInterrupt: all decisions so far are written, and the same call resumes.
    """
    with planning(suite) as store:
        checked = _check(cell_runs(suite, limit), store, on_check)
        output = Output(suite.output.path, store)
        before = _before(output)
        output.prepare()
    sheet = _Sheet(suite, output, [each.result for each in checked], before)
    job = _Sweeping(suite, store, sheet, checked, local, on_cell, on_progress, on_warning)
    if sheet.record.is_as(before):  # the times stay those of the work
        sheet.update(status=before["status"], ended=before["ended"])
        return job.result(job.tracked_before())
    return job.run()


class _Sweeping(Job[SweepResult]):
    """Runs the cells that are not done, under one MLflow run."""

    def __init__(
        self,
        suite: SuiteConfig,
        store: Store,
        sheet: _Sheet,
        checked: Sequence[_Checked],
        local: bool,
        on_cell: OnCell,
        on_progress: OnProgress | None,
        on_warning: OnWarning,
    ) -> None:
        super().__init__(suite, store, on_warning, run_id=sheet.record.mlflow_run_id)
        self._suite = suite
        self._sheet = sheet
        self._checked = checked
        self._local = local
        self._on_cell = on_cell
        self._on_progress = on_progress

    def params(self) -> Mapping[str, Any]:
        suite = self._suite
        names, n = ", ".join(suite.models), len(suite.datasets)
        return {"title": suite.title, "models": names, "datasets": n}

    def tags(self) -> Mapping[str, str]:
        return {**super().tags(), "zsd_ray.kind": "sweep"}

    def work(self) -> Status:
        tracker, checked, sheet = self.tracker(), self._checked, self._sheet
        parent = tracker.run_id() if tracker is not None else None
        sheet.update(mlflow_run_id=parent)
        with _one_cluster([each.config for each in checked], self._local):
            for number, each in enumerate(checked):
                if each.plan is None or each.result.status == "finished":
                    continue
                self._on_cell(each.cell, number + 1, len(checked))
                done = _done(each, parent, self._local, self._on_progress, self._on_warning)
                sheet.set(number, done)
        return "finished" if sheet.record.n_whole == len(checked) else "incomplete"

    def end(self, status: Status) -> SweepResult:
        sheet = self._sheet
        sheet.update(status=status, ended=now())
        metrics = {
            f"{cell.cell.model}/{cell.cell.method}/{cell.cell.column}": cell.value
            for cell in sheet.record.cells
            if cell.value is not None and cell.cell.template is None
        }
        pages: dict[str, str | bytes] = {"report.html": sheet.page, "table.md": sheet.table}
        return self.result(self.close_tracker(status, metrics, pages))

    def result(self, tracked: TrackedRun | None) -> SweepResult:
        """Return the results of the sweep so far."""
        report = redact(self.output.location("report.html"))
        return SweepResult(self._sheet.record, redact(self.output.path), report, tracked)


def _before(output: Output) -> dict[str, object]:
    """Return the record of an earlier sweep of this output."""
    tree, shown = output.read_json("sweep.json") or {}, output.shown("sweep.json")
    for name in ("started", "mlflow_run_id"):
        if not isinstance(tree.get(name), str | None):
            raise DamagedFile(shown, f"{name} is no text", "mend or remove it")
    return tree


def _check(
    runs: Sequence[CellRun], store: Store, on_check: Callable[[int, int], None]
) -> list[_Checked]:
    """Plan every cell. Raises UserError where none can start."""
    checked, inputs = [], Inputs(store)
    for number, (cell, config) in enumerate(runs):
        on_check(number, len(runs))
        try:
            plan = make_plan(config, inputs, store)
        except UserError as error:
            refused = CellResult(
                cell, redact(config.output.path), "refused", "accuracy", reason=str(error)
            )
            checked.append(_Checked(cell, config, None, refused))
            continue
        previous = plan.previous
        done = plan.nothing_to_do and previous is not None and previous.status == "finished"
        totals = previous.totals if previous is not None else {}
        found = result_of(
            cell,
            plan,
            "finished" if done else "waiting",
            totals,
            previous.mlflow_run_id if previous is not None else None,
        )
        checked.append(_Checked(cell, config, plan if not done else None, found))
    on_check(len(runs), len(runs))
    if all(each.result.status == "refused" for each in checked):
        first = checked[0]
        raise UserError(f"no cell can start; {first.cell.name}: {first.result.reason}")
    return checked


def _done(
    each: _Checked,
    parent: str | None,
    local: bool,
    on_progress: OnProgress | None,
    on_warning: OnWarning,
) -> CellResult:
    """Run one cell; one that breaks off says why."""
    assert each.plan is not None
    config = each.plan.config
    tracking = config.tracking.model_copy(update={"parent": parent})
    plan = replace(each.plan, config=config.model_copy(update={"tracking": tracking}))
    try:
        result = run_plan(plan, local, on_progress, on_warning)
    except (UserError, RunBrokenError, StoreError) as error:
        on_warning(f"{each.cell.name}: {error}")
        return replace(each.result, status="failed", reason=str(error))
    found = result.run
    return result_of(each.cell, each.plan, found.status, found.totals, found.mlflow_run_id)


class _Sheet:
    """Keeps the record, the table and the page of a sweep as cells are done."""

    def __init__(
        self,
        suite: SuiteConfig,
        output: Output,
        cells: list[CellResult],
        before: dict[str, object],
    ) -> None:
        self._suite = suite
        self._output = output
        self._cells = cells
        self.record = SweepRecord(
            title=suite.title,
            status="running",
            config=resolved(suite),
            started=str(before.get("started") or now()),
            cells=tuple(cells),
            mlflow_run_id=str(before["mlflow_run_id"]) if before.get("mlflow_run_id") else None,
        )
        self.page = ""
        self.table = ""

    def set(self, number: int, result: CellResult) -> None:
        """Record the result of a cell."""
        self._cells[number] = result
        self.update(cells=tuple(self._cells))

    def update(self, **changes: object) -> None:
        """Change the record, and write all that is made from it."""
        from zsd_ray.studies.sweeps.sweep_page import render_sweep, table_markdown

        self.record = replace(self.record, **changes)  # type: ignore[arg-type]
        self.table = table_markdown(self.record, self._suite)
        self.page = render_sweep(self.record, self._suite)
        self.record.write(self._output)
        self._output.write_bytes("table.md", self.table.encode())
        self._output.write_bytes("report.html", self.page.encode())


def _one_cluster(configs: Sequence[RunConfig], local: bool) -> AbstractContextManager[None]:
    """One Ray for all cells: starting one takes as long as a small run."""
    return nullcontext() if local else _cluster(configs)


@contextmanager
def _cluster(configs: Sequence[RunConfig]) -> Iterator[None]:
    from zsd_ray.runtime.cluster import cluster

    def size(config: ClusterConfig) -> int:
        return config.workers.max * config.cpus_per_worker

    largest = max(configs, key=lambda config: size(config.cluster))
    with cluster(largest.cluster, largest.model.device):
        yield
