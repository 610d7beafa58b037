"""`generate`: making a set of images with a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from zsd_ray.config.identity import hash_of, resolved
from zsd_ray.records.redaction import redact, redacted
from zsd_ray.results.contact_sheet import contact_sheet
from zsd_ray.results.image_parts import Picture, png
from zsd_ray.results.job import Job, OnWarning, planning
from zsd_ray.results.provenance import versions
from zsd_ray.results.record_file import Status
from zsd_ray.results.tracking.tracker import TrackedRun
from zsd_ray.runtime.executor import workers
from zsd_ray.studies.generation.generate_config import GenerateConfig
from zsd_ray.studies.generation.image_maker import ImageMaker
from zsd_ray.studies.generation.image_set_plan import PART, RECORD, ImageSetPlan, plan_images

SHEET = "grid.png"
_SHEET_SIDE = 10  # classes, and images of each, at most

OnPart = Callable[[int, int], None]
"""Called with how many of all images are done."""


@dataclass(frozen=True)
class Generated:
    """A finished set.

    output: its path or URL, without passwords; evaluations: of this call, without padding.
    """

    output: str
    n_images: int
    classes: tuple[str, ...]
    n_evaluations: int
    seconds: float
    tracked: TrackedRun | None = None


def generate(
    config: GenerateConfig,
    *,
    local: bool = False,
    on_part: OnPart = lambda done, total: None,
    on_warning: OnWarning = print,
) -> Generated:
    """Make the images that `config` describes; an interrupted set of them resumes.

    Args:
        local: in this process, without Ray.
        on_part: called with the number of finished images, and of all images.

    Raises:
        UserError: bad input; nothing was started.
        RunBrokenError, StoreError: it cannot continue; the same call resumes it later.
    """
    with planning(config) as store:
        planned = plan_images(config, store)
    return _Making(planned, local, on_part, on_warning).run()


class _Making(Job[Generated]):
    """Makes the images that are not there yet, their record and their grid."""

    def __init__(
        self, planned: ImageSetPlan, local: bool, on_part: OnPart, on_warning: OnWarning
    ) -> None:
        output, config = planned.parts.output, planned.config
        identity = hash_of(planned.identity_parts)
        super().__init__(config, output.store, on_warning, identity, planned.run_id)
        self._planned = planned
        self._do_all = workers(local, config.cluster, config.model.device)
        self._on_part = on_part
        output.prepare()
        self._todo = sorted(set(range(planned.n_parts)) - planned.parts.done())
        self._done = planned.n_images - sum(len(planned.numbers(part)) for part in self._todo)
        self._n_evaluations, self._sheet = 0, b""
        self._write("running", planned.run_id)

    def work(self) -> Status:
        planned = self._planned
        if self._todo:
            self.tracker()
        self._on_part(self._done, planned.n_images)
        made = self._do_all(partial(ImageMaker, planned), self._todo)
        for part, spent in zip(self._todo, made, strict=True):
            self._done += len(planned.numbers(part))
            self._n_evaluations += spent
            self._on_part(self._done, planned.n_images)
            self.log({"images": self._done}, step=part)
        self._sheet = png(contact_sheet(_shown(planned), planned.parts.classes))
        self.output.write_bytes(SHEET, self._sheet)
        return "finished"

    def end(self, status: Status) -> Generated:
        planned, seconds, n = self._planned, self.seconds, self._n_evaluations
        if self._todo:
            metrics = {"images": self._done, "n_evaluations": n, "seconds": seconds}
            sheet: dict[str, str | bytes] = {SHEET: self._sheet} if self._sheet else {}
            tracked = self.close_tracker(status, metrics, sheet)
        else:  # there is no news to report
            tracked = self.tracked_before()
        self._write(status, tracked.run_id if tracked else planned.run_id)
        path = redact(planned.config.output.path)
        return Generated(path, planned.n_images, planned.parts.classes, n, seconds, tracked)

    def _write(self, status: Status, run_id: str | None) -> None:
        parts = self._planned.identity_parts
        record = {
            "status": status,
            "identity": hash_of(parts),
            "identity_parts": redacted(dict(parts)),
            "config": resolved(self._planned.config),
            "n_images": self._planned.n_images,
            "versions": versions(),
            "mlflow_run_id": run_id,
        }
        content = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        self.output.write_bytes(RECORD, content.encode())


def _shown(plan: ImageSetPlan) -> list[list[Picture]]:
    """Return the pictures of the grid: one row per class, or rows of images without classes."""
    side, n_classes = _SHEET_SIDE, len(plan.parts.classes)
    if n_classes:
        shown = min(side, plan.n_images // n_classes)
        rows = [
            [number * n_classes + label for number in range(shown)]
            for label in range(min(side, n_classes))
        ]
    else:
        first = range(min(side**2, plan.n_images))
        rows = [list(first[start : start + side]) for start in range(0, len(first), side)]
    parts = {part: plan.parts.read(part) for part in sorted({n // PART for r in rows for n in r})}
    return [[parts[n // PART][n % PART] for n in row] for row in rows]
