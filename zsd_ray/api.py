"""The Python interface: `zsd_ray.run(RunConfig(...))`, what the command line does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zsd_ray.analysis.saved_run import open_run
from zsd_ray.config.run import ClusterConfig, RunConfig, StorageConfig
from zsd_ray.config.sampler import SamplerConfig
from zsd_ray.data.dataset import choose_subset
from zsd_ray.evaluation.evaluate import PLAN_SECONDS, in_fresh_place, run
from zsd_ray.evaluation.session import (
    OnProgress,
    OnWarning,
)
from zsd_ray.models.registry import resolve_model
from zsd_ray.planning.plan import make_plan
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.output import Output
from zsd_ray.results.places import refuse_relative, refuse_relative_place
from zsd_ray.runtime.pieces import DoAll, do_here
from zsd_ray.storage.store import Store
from zsd_ray.studies.illustrations.illustration_file import Illustrations

if TYPE_CHECKING:  # torch takes seconds to import
    from zsd_ray.config.training import TrainConfig
    from zsd_ray.scoring.model_check import ModelCheck
    from zsd_ray.studies.fid.fid_config import FidConfig
    from zsd_ray.studies.fid.measuring import FidResult
    from zsd_ray.studies.generation.generate_config import GenerateConfig
    from zsd_ray.studies.generation.generating import Generated
    from zsd_ray.studies.self_check.self_check_record import SelfCheck
    from zsd_ray.training.training_session import OnProgress as OnTrainProgress
    from zsd_ray.training.training_session import TrainResult

__all__ = [
    "check_model",
    "fid",
    "generate",
    "illustrate",
    "in_fresh_place",
    "run",
    "self_check",
    "train",
]

_SELF_CHECK_STEPS = 25  # of DDIM for an image


def check_model(
    config: RunConfig, n_images: int, on_pass: Callable[[int, int], None] = lambda done, all: None
) -> ModelCheck:
    """Compare a model's fast path with plain float32, in this process, on some of its images.

    Args:
        on_pass: called with how many of all passes over an image are done.

    Raises:
        UserError: bad input, a model without a fast path, or more than model.max_difference.
    """
    from zsd_ray.scoring.model_check import check_numbers, refuse_difference

    if n_images < 1:
        raise UserError(f"--images must be at least 1, but came {n_images}")
    store = Store(config.storage, PLAN_SECONDS)
    plan = make_plan(config, store=store)
    images = choose_subset(plan.dataset.records, n_images)
    found = check_numbers(
        plan.config,
        plan.model,
        plan.dataset,
        plan.prompts,
        list(images),
        lambda done: on_pass(done, 2 * len(images)),
    )
    refuse_difference(plan.config, found)
    return found


def illustrate(
    path: str,
    n_images: int = 2,
    *,
    storage: StorageConfig | None = None,
    on_part: Callable[[int, int], None] = lambda done, all: None,
) -> Illustrations:
    """Show what the model of a run makes of some of its images, in this process.

    Writes illustrations.html and the folder illustrations/ into the run's output; the run may still
    be going on.

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
    from zsd_ray.studies.illustrations import illustrating as engine
    from zsd_ray.studies.illustrations.illustration_page import render_illustrations

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


def generate(
    config: GenerateConfig,
    *,
    local: bool = False,
    on_part: Callable[[int, int], None] = lambda done, all: None,
    on_warning: OnWarning = print,
) -> Generated:
    """Make the images that `config` describes, or go on with an interrupted set of them.

    Args:
        local: in this process, without Ray.
        on_part: called with how many of all images are done.

    Raises:
        UserError: bad input; nothing was started.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
    """
    from zsd_ray.studies.generation import generating as engine

    refuse_relative(config.model_dump(mode="json"))
    store = Store(config.storage)
    with store.impatient(PLAN_SECONDS):
        job = engine.plan_images(config, store)
    do_all = _do_all(local, config.cluster, config.model.device)
    return engine.generate(job, do_all, on_part, on_warning)


def fid(
    config: FidConfig,
    *,
    local: bool = False,
    on_images: Callable[[int, int], None] = lambda done, all: None,
    on_warning: OnWarning = print,
) -> FidResult:
    """Measure FID and KID of the generated images that `config` names against the real ones.

    Args:
        local: in this process, without Ray.
        on_images: called with how many images were seen, of how many.

    Raises:
        UserError: bad input; or an image cannot be read.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
    """
    from zsd_ray.studies.fid import measuring as engine

    refuse_relative(config.model_dump(mode="json"))
    store = Store(config.storage)
    with store.impatient(PLAN_SECONDS):
        job = engine.plan_fid(config, store)
    do_all = _do_all(local, config.cluster, config.device)
    return engine.measure(job, do_all, on_images, on_warning)


def self_check(
    config: RunConfig,
    images_per_class: int = 5,
    draws: int = 40,
    *,
    local: bool = False,
    on_part: Callable[[int, int], None] = lambda done, all: None,
    on_progress: OnProgress | None = None,
    on_warning: OnWarning = print,
) -> SelfCheck:
    """Make images of each class of a run with its model, classify them, and as many of its data.

    Args:
        local, on_progress, on_warning: as for `run`; on_part: as for `generate`.

    Raises:
        UserError: bad input, or a model that makes no images.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
    """
    from zsd_ray.studies.generation.generate_config import GenerateConfig, GenerateOutputConfig
    from zsd_ray.studies.self_check import self_checking

    def make_images(planned: RunConfig, classes: Sequence[str], n_each: int, path: str) -> int:
        cluster = planned.cluster
        if cluster.batch_size == "auto":  # only runs measure it
            cluster = cluster.model_copy(update={"batch_size": 64})
        made = generate(
            GenerateConfig(
                model=planned.model,
                prompts=planned.prompts.model_copy(update={"classes": list(classes)}),
                images_per_class=n_each,
                sampler=SamplerConfig(steps=_SELF_CHECK_STEPS),
                cluster=cluster,
                output=GenerateOutputConfig(path=path),
                storage=planned.storage,
                tracking=planned.tracking.model_copy(update={"mlflow": "off"}),
                seed=planned.seed,
            ),
            local=local,
            on_part=on_part,
            on_warning=on_warning,
        )
        return made.n_evaluations

    return self_checking.self_check(
        config,
        images_per_class,
        draws,
        make_images=make_images,
        local=local,
        on_progress=on_progress,
        on_warning=on_warning,
    )


def _do_all(local: bool, cluster: ClusterConfig, device: str) -> DoAll:
    """Who does independent pieces of work: this process, or a crew on Ray."""
    if local:
        return do_here
    from zsd_ray.runtime.crew import Crew

    return Crew(cluster, device)


def train(
    config: TrainConfig,
    *,
    local: bool = False,
    on_progress: OnTrainProgress = lambda steps, images_per_second: None,
    on_warning: OnWarning = print,
) -> TrainResult:
    """Train the model that `config` describes, or go on with an interrupted training of it.

    Args:
        local: in this process, without Ray.
        on_progress: called now and then with the last steps and images/s.

    Raises:
        UserError: bad input; nothing was started, or an image cannot be read.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
    """
    from zsd_ray.training import training_session as training

    refuse_relative(config.model_dump(mode="json"))
    execute: training.Execute
    if local:
        from zsd_ray.training.process import train_here

        execute = train_here
    else:
        from zsd_ray.runtime.training import train_on_ray

        execute = train_on_ray
    return training.train(config, execute, on_progress, on_warning)
