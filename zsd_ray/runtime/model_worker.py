"""The model-worker actor: pins one model and pulls micro-batches until there are none."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from zsd_ray.spec.config import RunConfig
from zsd_ray.spec.errors import UserError

IN_FLIGHT = 2
"""Requests a worker has open: it computes one while the next is on its way."""


@ray.remote
class ModelWorker:
    """One denoiser in one process."""

    def __init__(self, config: RunConfig, fingerprint: str) -> None:
        import torch

        from zsd_ray.models import registry, source

        found = source.fingerprint(registry.check_model(config.model))
        if found != fingerprint:
            raise UserError(
                f"model.path {config.model.path} has other files here than at the driver"
            )

        torch.set_num_threads(config.cluster.cpus_per_worker)
        self._config = config
        self._denoiser = registry.load_model(config.model)

    def encode_prompts(self, prompts: list[str]) -> NDArray[np.float32]:
        """Conditioning of every prompt; done by one worker, shared through the object store."""
        return self._denoiser.encode_prompts(prompts)

    def run(
        self, name: str, scheduler: Any, dataset: Any, conditioning: NDArray[np.float32]
    ) -> None:
        """Score until the scheduler has no more work. One call hands in and asks for more."""
        from zsd_ray.engine.worker import Scorer

        scorer = Scorer(
            self._denoiser,
            dataset,
            # What the object store gives is read-only memory; torch wants to own it.
            conditioning.copy(),
            len(self._config.prompts.templates),
            self._config.method,
            self._config.seed,
            self._config.cluster.batch_size,
        )
        requests = deque(
            scheduler.exchange.remote(name, scorer.batch_size, None) for _ in range(IN_FLIGHT)
        )
        while requests:
            micro_batch = ray.get(requests.popleft())
            if micro_batch is not None:
                scores = scorer.score(micro_batch)
                requests.append(scheduler.exchange.remote(name, scorer.batch_size, scores))
