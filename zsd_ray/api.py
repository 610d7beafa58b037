"""Commands that combine packages which do not import each other; `zsd_ray` exports all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zsd_ray.config.run import RunConfig
from zsd_ray.config.sampler import SamplerConfig
from zsd_ray.evaluation.session import OnProgress
from zsd_ray.results.job import OnWarning

if TYPE_CHECKING:  # torch takes seconds to import
    from zsd_ray.config.training import TrainConfig
    from zsd_ray.studies.self_check.self_check_record import SelfCheck
    from zsd_ray.training.training_session import OnProgress as OnTrainProgress
    from zsd_ray.training.training_session import TrainResult

_SELF_CHECK_STEPS = 25  # DDIM steps per image


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
    """Generate images of each class of a run with its model; classify these and as many real ones.

    Args:
        local, on_progress, on_warning: as for `run`; on_part: as for `generate`.

    Raises:
        UserError: bad input, or a model that makes no images.
        RunBrokenError, StoreError: it cannot continue now; the same call resumes it later.
    """
    from zsd_ray.studies.generation.generate_config import GenerateConfig, GenerateOutputConfig
    from zsd_ray.studies.generation.generating import generate
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


def train(
    config: TrainConfig,
    *,
    local: bool = False,
    on_progress: OnTrainProgress = lambda steps, images_per_second: None,
    on_warning: OnWarning = print,
) -> TrainResult:
    """Train the model that `config` describes, or resume an interrupted training of it.

    Args:
        local: in this process, without Ray.
        on_progress: called regularly with the last steps and images/s.

    Raises:
        UserError: bad input; nothing was started, or an image cannot be read.
        RunBrokenError, StoreError: it cannot continue now; the same call resumes it later.
    """
    from zsd_ray.training import training_session as training

    execute: training.Execute
    if local:
        from zsd_ray.training.process import train_here

        execute = train_here
    else:
        from zsd_ray.runtime.train_on_ray import train_on_ray

        execute = train_on_ray
    return training.train(config, execute, on_progress, on_warning)
