"""The cells of a sweep as rows of the robustness tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

from zsd_ray.studies.sweeps.robustness_rows import CorruptedAccuracy, ShiftedAccuracy
from zsd_ray.studies.sweeps.suite_config import CellResult, SuiteRobustness


def name_of(result: CellResult) -> str:
    """Return the name of a row or a line: the model and the method."""
    return f"{result.cell.model}, {result.cell.method}"


def corrupted_rows(results: Sequence[CellResult]) -> list[CorruptedAccuracy]:
    """The data sets that were damaged, clean ones too; none where none was."""
    damaged = {_about(result) for result in results if result.cell.corruption is not None}
    rows = []
    for result in results:
        if _about(result) not in damaged or result.cell.template is not None:
            continue
        if result.value is None or result.low is None or result.high is None:
            continue
        corruption = result.cell.corruption
        rows.append(
            CorruptedAccuracy(
                name=name_of(result),
                dataset=" ".join(part for part in _about(result) if part),
                kind=None if corruption is None else corruption.kind,
                strength=0 if corruption is None else corruption.strength,
                value=result.value,
                low=result.low,
                high=result.high,
                chance=result.chance,
            )
        )
    return rows if any(row.kind is not None for row in rows) else []


def shifted_rows(
    results: Sequence[CellResult], asked: SuiteRobustness | None
) -> list[ShiftedAccuracy]:
    """Each model on each shifted data set; none before two baselines are on both."""
    if asked is None:
        return []
    whole = [result for result in results if result.images and _is_plain(result)]
    usual = {name_of(result): result for result in whole if result.cell.dataset == asked.id}
    rows = [
        ShiftedAccuracy(
            name=name_of(result),
            dataset=result.cell.dataset,
            id_correct=usual[name_of(result)].correct,
            id_images=usual[name_of(result)].images,
            ood_correct=result.correct,
            ood_images=result.images,
            is_baseline=result.cell.model in asked.baselines,
        )
        for result in whole
        if result.cell.dataset in asked.ood and name_of(result) in usual
    ]
    n_baselines = {
        name: len({row.id_correct / row.id_images for row in rows if _is(row, name)})
        for name in {row.dataset for row in rows}
    }
    return [row for row in rows if n_baselines[row.dataset] >= 2]


def _is(row: ShiftedAccuracy, dataset: str) -> bool:
    return row.is_baseline and row.dataset == dataset


def _is_plain(result: CellResult) -> bool:
    cell = result.cell
    return cell.corruption is None and cell.template is None and cell.task is None


def _about(result: CellResult) -> tuple[str, str | None]:
    return (result.cell.dataset, result.cell.task)
