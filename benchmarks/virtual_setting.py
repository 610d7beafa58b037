"""What a simulated cluster is like."""

from __future__ import annotations

import time
from dataclasses import dataclass

from made_up_scores import Workload

CLOCKS = {"cpu": time.thread_time, "wall": time.perf_counter}
"""Of the engine's code: the thread's own time, or what other processes take of the cores too."""


@dataclass(frozen=True)
class Setting:
    """What is simulated. Durations in seconds."""

    workload: Workload
    gpus: int
    images: int
    shards: int = 1
    speed: float = 615.0  # rows/s: SD 2 at 512, H200 at half of its peak
    speed_spread: float = 0.10  # of one GPU to the next, lognormal
    slow_share: float = 0.2  # of nodes, with GPUs of `slow_speed` of the others' speed
    slow_speed: float = 0.5
    batch_size: int = 256
    time_noise: float = 0.03  # of one micro-batch to the next
    straggler_share: float = 0.003  # of micro-batches, 3 to 8 times as long
    encode_rows: float = 3.0  # what reading and encoding an image costs a worker
    latency: float = 0.0005  # one way; as much again, exponential, on top
    message_seconds: float = 0.001  # the actor's cost of a call beside the engine's
    gpus_per_node: int = 8
    node_hours: float = 3.0  # mean life of a node
    losses_at_least: float = 6.0  # expected in a run; shortens node_hours where needed
    found_after: float = 2.0
    back_after: tuple[float, float] = (120.0, 300.0)
    seed: int = 0
    clock: str = "cpu"

    @property
    def expected_seconds(self) -> float:
        speed = self.speed * (1 - self.slow_share * (1 - self.slow_speed))
        return self.images * self.workload.evaluations_expected / (self.gpus * speed)

    @property
    def node_seconds(self) -> float:
        nodes = -(-self.gpus // self.gpus_per_node)
        shorter = nodes * self.expected_seconds / self.losses_at_least
        return min(self.node_hours * 3600, shorter)
