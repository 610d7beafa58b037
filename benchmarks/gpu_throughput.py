"""Evaluations/s and share of the device's arithmetic, for networks of their real size.

    python benchmarks/gpu_throughput.py [--models sd15@512,...] [--seconds S] [--json]
    python benchmarks/gpu_throughput.py --tiny [--quick] [--json]

Weights are random: speed does not depend on them. Every variant scores the same rows: one image,
all prompts of a draw, draw after draw, in the noising, forward and error that workers run.

    ours             as a run on a GPU: bfloat16, compiled, what rows share computed once
    less compiling   and so on: the same without one of its parts (on a processor, with one more)
    and CUDA graphs  the same with its kernels recorded and replayed, at batch 256 and 32
    plain loop       the network in float16, batch 32, one image, scores to the host every batch

peak_fraction is evaluations/s times the FLOPs of one plain forward, over the FLOP/s of a large
bfloat16 matrix product measured in the same run; what sharing saves counts as done.

--tiny runs everywhere, in float32 on the processor: small networks of the same make, and the
built-in model. It compares scores with the plain path's, and counted FLOPs with those that the
shapes say are saved. Without CUDA and --tiny there is nothing to measure: it says so and ends well.
--quick is --tiny with two of the networks, two variants and a moment for each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_networks import NETWORKS, BuiltIn, Network
from torch.utils.flop_counter import FlopCounterMode

from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.methods.diffusion_classifier import DiffusionClassifier
from zsd_ray.methods.method import Bound
from zsd_ray.models.denoiser import Denoiser, PromptEncoder
from zsd_ray.models.rows import BindsRows, RowNetwork, plain_rows, row_network, wrapper
from zsd_ray.models.unet_rows import UNetRows, is_plain

os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # it advises against random weights
os.environ.setdefault("TQDM_DISABLE", "1")

PLAIN_BATCH = 32
QUICK = ["sd15@512", "dit-xl/2@256"]


@dataclass(frozen=True)
class Variant:
    """How rows are scored."""

    name: str
    dtype: torch.dtype = torch.bfloat16
    compile: bool = True
    share_trunk: bool = True
    cache_prompts: bool = True
    channels_last: bool = True
    batch_size: int = 256
    to_host: bool = False  # the scores of every batch
    graphs: bool = False

    @property
    def shares(self) -> bool:
        return self.share_trunk or self.cache_prompts


OURS = Variant("ours")
LEFT_OUT = [
    replace(OURS, name="less compiling", compile=False),
    replace(OURS, name="less the shared trunk", share_trunk=False),
    replace(OURS, name="less kept prompts", cache_prompts=False),
    replace(OURS, name="less channels_last", channels_last=False),
    replace(OURS, name="less large batches", batch_size=PLAIN_BATCH),
]
GRAPHS = [
    replace(OURS, name="and CUDA graphs", graphs=True),
    replace(OURS, name="less large batches, and CUDA graphs", batch_size=PLAIN_BATCH, graphs=True),
]
PLAIN = Variant("plain loop", torch.float16, False, False, False, False, PLAIN_BATCH, to_host=True)


def variants(network: Network | BuiltIn, tiny: bool, quick: bool = False) -> list[Variant]:
    """Those that make a difference for a network."""
    found = [OURS, *LEFT_OUT, *GRAPHS, PLAIN]
    if not network.is_unet:
        found = [v for v in found if v.name != "less channels_last"]
    if not network.shares:
        found = [v for v in found if v.name not in ("less the shared trunk", "less kept prompts")]
    if tiny:
        left_out = ("less compiling", "less large batches")
        found = [
            replace(v, dtype=torch.float32, compile=False, batch_size=8 if quick else 64)
            for v in found
            if v.name not in left_out and not v.graphs
        ]
    if quick:
        return [found[0], found[-1]]
    if isinstance(network, BuiltIn):  # its compiler takes a minute, on a processor
        found.append(replace(found[0], name="and compiling", compile=True))
    return found


def graphed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function, and replay its kernels as one CUDA graph for each shape."""
    compiled = torch.compile(function, dynamic=False, mode="reduce-overhead")

    def call(*arguments: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        out = compiled(*arguments)
        # The next replay writes to the same memory.
        return [part.clone() for part in out] if isinstance(out, list) else out.clone()

    return call


def bind(denoiser: Denoiser, rows: Mapping[str, torch.Tensor], variant: Variant) -> RowNetwork:
    if variant.graphs:
        bound = denoiser.row_network(rows, graphed) if isinstance(denoiser, BindsRows) else None
        return bound or plain_rows(denoiser, rows, graphed)
    if not variant.shares:
        return plain_rows(denoiser, rows)
    unet = getattr(denoiser, "_unet", None)
    if unet is None or not is_plain(unet) or (variant.share_trunk and variant.cache_prompts):
        return row_network(denoiser, rows, variant.compile)
    return UNetRows(
        unet,
        rows["hidden"],
        wrapper(denoiser, variant.compile),
        share_trunk=variant.share_trunk,
        cache_prompts=variant.cache_prompts,
    )


def _no_encoder() -> PromptEncoder:
    raise AssertionError("the diffusion classifier keeps none")


class Rows:
    """Scores batch after batch of the rows of one image."""

    def __init__(self, denoiser: Denoiser, network: RowNetwork, n_prompts: int) -> None:
        bound = Bound(denoiser, {}, [], [], network, 1, 0, _no_encoder)
        self._method = DiffusionClassifier(bound, DiffusionClassifierMethod(weighting="simple"))
        self._n_prompts = n_prompts
        self._schedule = denoiser.schedule
        self._device = denoiser.device
        self._x_0 = torch.zeros(1, *denoiser.sample_shape, device=self._device)

    @torch.no_grad()
    def batch(self, number: int, size: int) -> torch.Tensor:
        """The scores of rows number * size .. (number + 1) * size - 1."""
        rows = np.arange(number * size, (number + 1) * size)
        draws = rows // self._n_prompts
        noise = self._method.noise("image", range(int(draws[0]), int(draws[-1]) + 1))
        drawn = noise.draws

        def on_device(values: Any) -> torch.Tensor:
            return torch.from_numpy(np.asarray(values)).to(self._device)

        floats = (drawn.alpha, drawn.sigma, self._schedule.model_time(drawn.t))
        alpha, sigma, times = (on_device(value.astype(np.float32)) for value in floats)
        x_0 = self._x_0.expand(len(alpha), -1, -1, -1)
        draw, prompt = on_device(draws - draws[0]), on_device(rows % self._n_prompts)
        return self._method.errors(x_0, noise.eps, alpha, sigma, times, draw, prompt)


def speeds(
    scored: Sequence[tuple[Rows, Variant]], seconds: float, clock: Callable[[], float]
) -> list[float]:
    """Evaluations/s of micro-batches of 8 batches, in turn, once all is compiled: medians."""
    numbers = count()
    for rows, variant in scored:
        for _ in range(3):
            rows.batch(next(numbers), variant.batch_size).cpu()
    taken: list[list[float]] = [[] for _ in scored]
    while sum(map(sum, taken)) < seconds * len(scored):
        for (rows, variant), times in zip(scored, taken, strict=True):
            start = clock()
            for _ in range(8):
                scores = rows.batch(next(numbers), variant.batch_size)
                if variant.to_host:
                    scores.cpu()
            scores.cpu()
            times.append(clock() - start)
    return [
        8 * variant.batch_size / statistics.median(times)
        for (_, variant), times in zip(scored, taken, strict=True)
    ]


def flops(function: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    total: int = counter.get_total_flops()
    return total


def matmul_peak(device: torch.device) -> float:
    """FLOP/s of a large bfloat16 matrix product."""
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    timings = []
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(10):
            a @ b
        torch.cuda.synchronize()
        timings.append((time.perf_counter() - start) / 10)
    return 2 * 8192**3 / statistics.median(timings)


def measure(
    name: str,
    network: Network | BuiltIn,
    some: Sequence[Variant],
    options: argparse.Namespace,
    peak: float | None,
) -> Iterator[dict[str, Any]]:
    """A row for each variant; all of them are in memory at once."""
    device = torch.device("cpu" if options.tiny else "cuda")
    torch._dynamo.reset()  # torch compiles a function for so many networks of a process and no more
    # A processor's own time: other processes do not count, and it has no device to wait for.
    clock = time.process_time if options.tiny else time.perf_counter
    built = []
    for variant in some:
        with tempfile.TemporaryDirectory() as folder:
            denoiser, rows = network.build(Path(folder), variant.dtype, device, options.tiny)
        if network.is_unet and not variant.channels_last:
            unet: torch.nn.Module = denoiser._network  # type: ignore[attr-defined]
            unet.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        n_prompts = len(next(iter(rows.values())))
        built.append((Rows(denoiser, bind(denoiser, rows, variant), n_prompts), denoiser, rows))
    pairs = [(scored, variant) for (scored, _, _), variant in zip(built, some, strict=True)]
    found = speeds(pairs, options.seconds, clock)
    for (scored, denoiser, rows), variant, speed in zip(built, some, found, strict=True):
        plain = Rows(denoiser, plain_rows(denoiser, rows), len(next(iter(rows.values()))))
        each = flops(partial(plain.batch, 0, 8)) / 8
        row = {
            "model": name,
            "variant": variant.name,
            "evaluations_per_second": round(speed, 1),
            "gflops_per_evaluation": round(each / 1e9, 4),
            "peak_fraction": round(speed * each / peak, 4) if peak else None,
        }
        yield row | (compared(scored, plain, variant, denoiser, rows) if options.tiny else {})


def compared(
    scored: Rows,
    plain: Rows,
    variant: Variant,
    denoiser: Denoiser,
    rows: Mapping[str, torch.Tensor],
) -> dict[str, Any]:
    """How far scores and FLOPs are from the plain path's, for a batch of whole pieces of draws."""
    size = 8 * len(next(iter(rows.values())))
    one, other = scored.batch(0, size), plain.batch(0, size)
    ours, theirs = flops(lambda: scored.batch(0, size)), flops(lambda: plain.batch(0, size))
    saved = saved_flops(denoiser, variant, rows)
    return {
        "largest_relative_change": float(((one - other).abs() / other.abs()).max()),
        "flops_ratio": round(ours / theirs, 4),
        "flops_ratio_computed": round(1 - saved / theirs, 4),
    }


def saved_flops(denoiser: Denoiser, variant: Variant, rows: Mapping[str, torch.Tensor]) -> int:
    """What sharing should save of 8 draws under every prompt, from the network's shapes."""
    unet = getattr(denoiser, "_unet", None)
    if unet is None or not is_plain(unet) or not variant.shares:
        return 0
    n_prompts, length, depth = rows["hidden"].shape
    saved = 0
    if variant.share_trunk:
        from zsd_ray.models.unet_rows import _trunk

        x = torch.zeros(8, *denoiser.sample_shape)
        saved += (n_prompts - 1) * flops(lambda: _trunk(unet, x, torch.zeros(8)))
    if variant.cache_prompts:
        widths = [layer.attn2.inner_dim for layer in unet.modules() if getattr(layer, "attn2", 0)]
        saved += 8 * n_prompts * sum(2 * 2 * length * depth * width for width in widths)
    return saved


def table(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peak = None if options.tiny else matmul_peak(torch.device("cuda"))
    networks: dict[str, Network | BuiltIn] = dict(NETWORKS)
    if options.tiny:
        networks["digits"] = BuiltIn()
    for name in options.models or networks:
        network = networks[name]
        chosen = variants(network, options.tiny, options.quick)
        # On a GPU one after the other: several large networks and their prompts do not fit.
        for some in [chosen] if options.tiny else [[variant] for variant in chosen]:
            try:
                yield from measure(name, network, some, options, peak)
            except torch.OutOfMemoryError:
                yield {"model": name, "variant": some[0].name, "error": "out of memory"}


def print_row(row: dict[str, Any]) -> None:
    if "error" in row:
        print(f"{row['model']:18}{row['variant']:24}{row['error']}", flush=True)
        return
    cells = [f"{row['evaluations_per_second']:>12,.1f}"]
    cells += [f"{row['peak_fraction']:>8.1%}"] if row["peak_fraction"] is not None else [" " * 8]
    if "flops_ratio" in row:
        cells += [f"{row['flops_ratio']:>8.3f}", f"{row['flops_ratio_computed']:>8.3f}"]
        cells += [f"{row['largest_relative_change']:>10.1e}"]
    print(f"{row['model']:18}{row['variant']:24}{''.join(cells)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=lambda text: text.split(","), help=", ".join(NETWORKS))
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--tiny", action="store_true", help="small networks, on the processor")
    parser.add_argument("--quick", action="store_true", help="--tiny, and only a moment of it")
    parser.add_argument("--json", action="store_true", help="a list of rows as the last line")
    options = parser.parse_args()
    if options.quick:
        options.tiny, options.seconds = True, 1e-3
        options.models = options.models or QUICK
    if not options.tiny and not torch.cuda.is_available():
        print("no CUDA", file=sys.stderr if options.json else sys.stdout)
        if options.json:
            print("[]")
        return
    torch.set_num_threads(1 if options.tiny else torch.get_num_threads())
    rows = []
    for row in table(options):
        rows.append(row)
        if not options.json:
            print_row(row)
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
