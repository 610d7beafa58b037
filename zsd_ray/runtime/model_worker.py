"""The model-worker actor: pins one model and pulls micro-batches until there are none."""

from __future__ import annotations

import itertools
import time
import warnings
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import ray

from zsd_ray.config.run import ResolvedConfig
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.records.scores import MicroBatch
from zsd_ray.runtime import resources
from zsd_ray.runtime.gauges import WorkerMetrics
from zsd_ray.storage import retry
from zsd_ray.storage.store import Store

if TYPE_CHECKING:
    from zsd_ray.models.denoiser import Conditioning
    from zsd_ray.scoring.scorer import Scorer

IN_FLIGHT = 2
"""Requests a worker has open: it computes one while the next is on its way."""

_OVERTAKEN_SECONDS = 0.1


@ray.remote(concurrency_groups={"control": 1})
class ModelWorker:
    """One model in one process. After a failure the driver ends it: its device may be in any
    state."""

    def __init__(self, config: ResolvedConfig, fingerprint: str) -> None:
        self._config = config
        self._store = Store(config.storage)
        self._fingerprint = fingerprint
        self._metrics = WorkerMetrics(redact(config.output.path))
        self._scorer: Scorer
        self._notes: list[str] = []
        # Nobody sees a worker's own output: its warnings go to the user.
        warnings.showwarning = self._note  # type: ignore[assignment]

    def ready(self) -> str:
        """Load the model, and return the id of the node that this worker is on.

        Raises:
            UserError: the model is not the planned one or cannot be loaded, or torch cannot use
                the GPU that this worker was given.
        """
        import torch

        from zsd_ray.models.registry import resolve_model

        config = self._config
        self._files = resolve_model(config.model, self._store)  # those of this machine
        if self._files.fingerprint != self._fingerprint:
            raise UserError(
                f"model.path {config.model.path} has other files here than at the driver"
            )

        resources.check_gpu(config.cluster.gpus_per_worker, config.model.device)
        torch.set_num_threads(config.cluster.cpus_per_worker)
        self._model = self._files.load()
        node: str = ray.get_runtime_context().get_node_id()
        return node

    def encode_prompts(
        self, prompts: list[str], dataset: Any, images: list[int]
    ) -> tuple[Conditioning, list[str]]:
        """Encode every prompt, and the empty one if it normalises; one worker does so for all,
        who share the result through the object store.

        Before that, the model's numerical accuracy is checked on `images`, if the run asks for it.

        Returns:
            The conditioning, and the warnings.

        Raises:
            UserError: the model is less accurate than demanded.
        """
        from zsd_ray.methods.method import texts
        from zsd_ray.scoring.model_check import demand

        config = self._config
        demand(config, self._files, dataset, prompts, images)
        encoded = self._files.encode_prompts(texts(prompts, config.method))
        return encoded, self._take_notes()

    def bind(self, dataset: Any, conditioning: Conditioning, names: Sequence[str]) -> list[str]:
        """Make the model ready to score these classes; returns the warnings."""
        from zsd_ray.scoring.make_scorer import make_scorer

        config = self._config
        size = config.size(len(names))
        self._scorer = make_scorer(
            config, size, self._files, self._model, dataset, conditioning, names
        )
        return self._take_notes()

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def waits_for_store(self) -> bool:
        """Return whether this worker waits for a file store; answered while it scores."""
        return retry.waiting()

    def run(self, name: str, schedulers: Sequence[Any]) -> None:
        """Score until no scheduler has more work, asking them in turn."""
        receiver = ThreadPoolExecutor(max_workers=1, thread_name_prefix="receive")
        try:
            for scheduler in schedulers:
                self._serve(name, scheduler, receiver)
        finally:
            # Not waited for: after a failure a request may stay open as long as this worker lives.
            receiver.shutdown(wait=False, cancel_futures=True)

    def _serve(self, name: str, scheduler: Any, receiver: ThreadPoolExecutor) -> None:
        """Score one scheduler's work. Each call hands in scores and asks for the next work."""
        scorer = self._scorer
        answers: list[Any] = []

        def receive() -> MicroBatch | None:
            # Whichever comes first: calls may overtake each other on their way to the scheduler,
            # and a worker on trial has only one of its requests answered.
            while not (ready := ray.wait(list(answers), timeout=_OVERTAKEN_SECONDS)[0]):
                pass
            answers.remove(ready[0])
            micro_batch: MicroBatch | None = ray.get(ready[0])
            if micro_batch is not None:
                scorer.read_ahead(micro_batch)
            return micro_batch

        def ask(scores: Any = None) -> Future[MicroBatch | None]:
            answers.append(
                scheduler.exchange.remote(name, scorer.batch_size, scores, next(numbers))
            )
            return receiver.submit(receive)

        numbers = itertools.count()
        requests = deque(ask() for _ in range(IN_FLIGHT))
        while requests:
            start = time.perf_counter()
            micro_batch = requests.popleft().result()
            received = time.perf_counter()
            if micro_batch is None:
                continue
            scores = scorer.score(micro_batch)
            requests.append(ask(scores))
            if self._notes:
                scheduler.note.remote(self._take_notes())
            self._metrics.add(busy=time.perf_counter() - received, wait=received - start)

    def _note(self, message: Warning | str, category: type[Warning], *_: Any) -> None:
        if issubclass(category, UserWarning):
            self._notes.append(redact(str(message)))

    def _take_notes(self) -> list[str]:
        notes, self._notes = self._notes, []
        return notes
