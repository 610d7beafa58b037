"""What the system costs: evaluations/s of a Ray run with one worker over a bare loop.

The bare loop runs the same model at the same batch size on the same kind of rows and nothing else:
noising, forward, error. The Ray path is a whole run on the demonstration's workload, with image
reading and encoding, draws, elimination, scheduling, rows and progress; its rate is that from the
first scores to the last.

    python benchmarks/overhead.py [--images N] [--rounds R] [--quick] [--json]

Machines are noisy and drift, so the two are timed in turn: each Ray run is compared with the mean
of the bare loop before and after it, and the ratio is the median of R such. --quick is one short
round on 2 images in this process, without Ray: it shows that the program works, and its figures
mean nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch

import zsd_ray
from zsd_ray.config.run import RunConfig, load_config
from zsd_ray.diffusion import draws
from zsd_ray.models.denoiser import Denoiser
from zsd_ray.models.registry import resolve_model
from zsd_ray.results.progress import Progress

BARE_SECONDS, QUICK_SECONDS = 10.0, 0.1
BATCH_SIZE = 64
CONFIG = Path(__file__).parent.parent / "configs" / "digits.yaml"


class Rate:
    """Evaluations/s of a run between its first and its last scores."""

    def __init__(self) -> None:
        self.points: list[tuple[float, int]] = []

    def __call__(self, progress: Progress) -> None:
        if progress.n_scored and (not self.points or progress.n_scored > self.points[-1][1]):
            self.points.append((progress.seconds, progress.n_scored))

    def evaluations_per_second(self) -> float:
        (start, first), (end, last) = self.points[0], self.points[-1]
        return (last - first) / (end - start)


def bare_loop(config: RunConfig, seconds: float) -> float:
    """Evaluations/s of noising, forward and error alone."""
    torch.set_num_threads(config.cluster.cpus_per_worker)
    model = resolve_model(config.model)
    denoiser = cast(Denoiser, model.load())
    batch_size = BATCH_SIZE
    prompts = [f"a photo of the digit {name}." for name in config.prompts.classes or ()]
    rows = np.arange(batch_size) % len(prompts)
    encoded = model.encode_prompts(prompts)
    conditioning = {name: torch.from_numpy(of[rows]) for name, of in encoded.items()}
    t = denoiser.schedule.snap(draws.times(0, "bare", range(batch_size), "uniform", (0.02, 0.98)))
    alpha, sigma = (
        torch.from_numpy(a).float()[:, None, None, None] for a in denoiser.schedule.alpha_sigma(t)
    )
    times = torch.from_numpy(denoiser.schedule.model_time(t)).float()
    eps = torch.from_numpy(draws.noise(0, "bare", range(batch_size), denoiser.sample_shape))
    x_0 = torch.zeros_like(eps)
    n = 0
    with torch.inference_mode():
        start = time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            x_t = alpha * x_0 + sigma * eps
            output = denoiser.predict(x_t, times, conditioning)
            (eps - output).square().mean(dim=(1, 2, 3))
            n += batch_size
    return n / elapsed


def whole_run(images: int, local: bool) -> tuple[float, float]:
    """Evaluations/s and padding fraction of a run on Ray with one worker, or in this process."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = ["cluster.workers=1", f"cluster.batch_size={BATCH_SIZE}"]
        overrides += ["tracking.mlflow=off", f"output.path={folder}"]
        rate = Rate()
        config = load_config(RunConfig, CONFIG, overrides, limit=images)
        result = zsd_ray.run(config, local=local, on_progress=rate)
    return rate.evaluations_per_second(), float(result.metrics["padding_fraction"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a short round without Ray")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    seconds = BARE_SECONDS
    if options.quick:
        options.images, options.rounds, seconds = 2, 1, QUICK_SECONDS
    config = load_config(RunConfig, CONFIG)
    bare, ray, padding = [bare_loop(config, seconds)], [], []
    for _ in range(options.rounds):
        rate, fraction = whole_run(options.images, local=options.quick)
        ray.append(rate)
        padding.append(fraction)
        bare.append(bare_loop(config, seconds))
    ratios = [
        rate / statistics.mean((before, after))
        for rate, before, after in zip(ray, bare, bare[1:], strict=False)
    ]
    result = {
        "ratio": round(statistics.median(ratios), 4),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "padding_fraction": round(float(np.mean(padding)), 5),
        "ray_evaluations_per_second": [round(rate, 1) for rate in ray],
        "bare_evaluations_per_second": [round(rate, 1) for rate in bare],
        "images": options.images,
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"bare loop      {statistics.median(bare):8,.0f} evaluations/s (median of {len(bare)})")
    name = "in this process" if options.quick else "Ray, 1 worker"
    print(f"{name:15}{statistics.median(ray):8,.0f} evaluations/s (median of {len(ray)})")
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ratio          {result['ratio']:8.3f}   goal at least 0.90 (median of {each})")
    print(f"padding        {result['padding_fraction']:8.2%}   goal under 5 %")


if __name__ == "__main__":
    main()
