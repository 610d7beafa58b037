"""`zsd-ray illustrate`: illustrations of some images of a run by its model."""

from __future__ import annotations

from collections.abc import Callable

from zsd_ray.analysis.saved_run import open_run
from zsd_ray.config.storage import StorageConfig
from zsd_ray.models.registry import resolve_model
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.job import PLAN_SECONDS
from zsd_ray.results.output import Output
from zsd_ray.results.places import refuse_relative_place
from zsd_ray.storage.store import Store
from zsd_ray.studies.illustrations import illustrating as engine
from zsd_ray.studies.illustrations.illustration_file import Illustrations
from zsd_ray.studies.illustrations.illustration_page import render_illustrations


def illustrate(
    path: str,
    n_images: int = 2,
    *,
    storage: StorageConfig | None = None,
    on_part: Callable[[int, int], None] = lambda done, all: None,
) -> Illustrations:
    """Illustrate some images of a run with its model, in this process.

    Writes illustrations.html and the folder illustrations/ into the run's output; the run may still
    be in progress.

    Args:
        path: the run's output, a folder or a URL.
        storage: how s3:// is reached; None: to what the run names, as its own section says.
        on_part: called with how many of all parts are done.

    Raises:
        UserError: there is no such run, no image of it has a prediction, or its model or data are
            not there as they were.
    """
    if n_images < 1:
        raise UserError(f"--images must be at least 1, but came {n_images}")
    refuse_relative_place("RUN", path)
    run = open_run(path, Store(storage or StorageConfig(), PLAN_SECONDS))
    config = run.config
    store = Store(storage or config.storage, PLAN_SECONDS)
    chosen = engine.choose(run.read("decisions", engine.COLUMNS), n_images)
    if not chosen:
        raise UserError(f"{run.name} has no image with a prediction yet; let it decide some")
    own = run.record.part("model", run.output.shown("run.json"))
    model = resolve_model(config.model, store)
    if model.fingerprint != own.get("fingerprint"):
        raise UserError(f"model.path {redact(config.model.path)} is not what {run.name} ran on")
    names = run.record.classes
    found = engine.illustrate(
        config, model, names, chosen, engine.SETTINGS, run.name, store, on_part
    )
    output = Output(path, store)
    for name, content in found.files().items():
        output.write_bytes(name, content)
    output.write_bytes("illustrations.html", render_illustrations(found).encode())
    return found
