"""Training on Ray Train: one process per worker, each with its share of every batch.

Ray Train starts the workers, connects them by torch.distributed, and restarts all of them if one is
lost; the loop then resumes from the state in the output, as it does after a lost driver.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zsd_ray.config.run import ClusterConfig, WorkersConfig
from zsd_ray.config.training import TrainConfig
from zsd_ray.records.errors import RunBrokenError, StoreError, UserError, last_line
from zsd_ray.records.redaction import redact
from zsd_ray.results.output import Output
from zsd_ray.runtime import resources
from zsd_ray.runtime.cluster import cluster
from zsd_ray.storage.store import Store
from zsd_ray.training.news import News, Steps
from zsd_ray.training.ranks import Ranks
from zsd_ray.training.training_session import RECORD

_RESTARTS = 3
"""Times that Ray Train restarts lost workers; a restart that makes progress resets the count."""
_POLL_SECONDS = 0.5
# Ray Train's own settings: how often it looks after its workers; not into a folder of its own, in
# which relative paths of a configuration would mean something else.
_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}


def train_on_ray(config: TrainConfig, on_news: Callable[[News], None]) -> None:
    """Train to the end on `config.cluster`, and report the first worker's news.

    Raises:
        UserError: the cluster cannot be reached or cannot hold the workers, or as `train_here`.
        RunBrokenError: workers are lost repeatedly, or the loss is not finite.
        StoreError: the store of the data or of the output does not answer.
    """
    own = config.cluster
    wanted = ClusterConfig(
        workers=WorkersConfig(min=own.workers, max=own.workers),
        gpus_per_worker=own.gpus_per_worker,
        cpus_per_worker=own.cpus_per_worker,
        address=own.address,
    )
    with cluster(wanted, "auto"):
        # Ray Train prints to this actor's output, and ends with this actor.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        if own.gpus_per_worker:
            # Ray Train would start its workers again and again over a GPU that torch cannot use.
            asked = _check_gpu.options(num_gpus=own.gpus_per_worker)
            ray.get(asked.remote(own.gpus_per_worker))
        trainer: Any = _Trainer.options(  # type: ignore[attr-defined]
            scheduling_strategy=here, runtime_env={"env_vars": _ENVIRONMENT}
        ).remote(config)
        try:
            _follow(trainer, on_news)
        finally:
            ray.kill(trainer)


def _follow(trainer: Any, on_news: Callable[[News], None]) -> None:
    end, furthest, before = trainer.fit.remote(), dict[str, int](), 0
    while True:
        ready, _ = ray.wait([end], timeout=_POLL_SECONDS)
        news, failure = ray.get(trainer.take.remote())
        for item in news:
            if isinstance(item, Steps):
                furthest[item.stage] = max(item.done, furthest.get(item.stage, 0))
            on_news(item)
        if failure is not None:
            raise failure
        if not ready:
            continue
        given_up = ray.get(end)
        if given_up is None:
            return
        if sum(furthest.values()) <= before:
            raise RunBrokenError(
                f"workers are lost again and again, the last time with: {given_up}; run the same "
                "command again to resume"
            )
        end, before = trainer.fit.remote(), sum(furthest.values())


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def _check_gpu(gpus: float) -> None:
    """Raise UserError where torch cannot use the GPU that Ray gives to a worker."""
    resources.check_gpu(gpus, "auto", "set cluster.gpus_per_worker: 0")


@ray.remote(num_cpus=0, max_concurrency=4)
class _Trainer:
    """Runs Ray Train, and collects the workers' news."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._news: list[News] = []
        self._failure: Exception | None = None
        self._lock = threading.Lock()

    def fit(self) -> str | None:
        """Train to the end; returns why Ray Train gave up, or None where it did not."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchTrainer

        own = self._config.cluster
        mailbox = ray.get_runtime_context().current_actor
        given = resources.environment(own.gpus_per_worker, own.cpus_per_worker)
        with tempfile.TemporaryDirectory(prefix="zsd-ray-train-") as folder:
            trainer = TorchTrainer(
                _work,
                train_loop_config={"config": self._config, "mailbox": mailbox},
                scaling_config=ScalingConfig(
                    num_workers=own.workers,
                    use_gpu=own.gpus_per_worker > 0,
                    resources_per_worker={"CPU": own.cpus_per_worker}
                    | ({"GPU": own.gpus_per_worker} if own.gpus_per_worker else {}),
                ),
                run_config=RunConfig(
                    name="training",
                    storage_path=folder,  # for its notes; our state goes to the output
                    failure_config=FailureConfig(max_failures=_RESTARTS),
                    worker_runtime_env={"env_vars": given},
                ),
            )
            try:
                trainer.fit()
            except (TrainingFailedError, RayError) as error:
                return last_line(error)
        return None

    def tell(self, news: News) -> None:
        with self._lock:
            self._news.append(news)

    def fail(self, failure: Exception) -> None:
        """Record an error that restarting the workers would not fix."""
        self._failure = failure

    def take(self) -> tuple[list[News], Exception | None]:
        """Return the news since the last call, and the error of the training, if any."""
        with self._lock:
            news, self._news = self._news, []
        return news, self._failure


def _work(arguments: dict[str, Any]) -> None:
    """The function that each worker runs."""
    import torch
    from ray.train import get_context
    from ray.train.torch import get_device

    from zsd_ray.training.process import train_here

    config, mailbox = arguments["config"], arguments["mailbox"]
    store = Store(config.storage)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    context = get_context()
    ranks = Ranks(context.get_world_rank(), context.get_world_size())
    try:
        _check_output(config, store)
        train_here(config, mailbox.tell.remote, ranks, get_device(), store)
    except (UserError, RunBrokenError, StoreError) as failure:
        # Not raised, for Ray Train would try again; the driver ends those that wait for this one.
        ray.get(mailbox.fail.remote(failure))


def _check_output(config: TrainConfig, store: Store) -> None:
    """Refuse a folder that this node does not share with the driver, which wrote a record there."""
    if Output(config.output.path, store).read_bytes(RECORD) is None:
        raise UserError(
            f"output.path {redact(config.output.path)} is not the same folder on every node; give "
            "one that is, or a URL"
        )
