"""The real engine on up to thousands of virtual GPUs: does one scheduler keep them busy?

    python benchmarks/simulate_cluster.py [--workload imagenet|cifar10] [--sizes 1,8,...]
    python benchmarks/simulate_cluster.py --gpus N [--images N] [--shards S] [--json]
    python benchmarks/simulate_cluster.py --quick

The scheduler, its rule and its eliminations are the real ones; workers, their nodes and the
network are simulated (virtual_cluster.py), scores are made up (made_up_scores.py). Virtual time
passes in the scheduler as its code really takes on this machine, plus --message-ms for each call:
Ray's own cost, measured at about 1,000 calls/s here.

busy_fraction           GPU-time on rows (padding too) over GPU-time alive, to 99 % of the images
busy_fraction_with_tail the same to the last image
scheduler_load          busy share of the busiest shard, to 99 % of the images
used_fraction           evaluations that decisions rest on over rows computed: the others padded a
                        batch, were guessed ahead, or came for a class removed meanwhile
peak_memory_mb          growth of the resident set from just before the schedulers are made, tables
                        in place; sampled every 1,000 messages; all shards and the simulation's
                        own events are in it
engine time             CPU time of the thread in Scheduler.handle, which neither waits nor sleeps:
                        unlike --clock wall, it leaves out what other processes take of the cores
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from made_up_scores import WORKLOADS, ScoreTable
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from virtual_cluster import Cluster
from virtual_setting import CLOCKS, Setting

from zsd_ray.scheduling.scheduler import WORKERS_PER_SCHEDULER

SIZES = (1, 8, 64, 512, 1000, 4000)
IMAGES_PER_GPU = {"imagenet": 4, "cifar10": 20}
"""In the table: enough for each GPU to be past its start, so that a row takes minutes."""
LEAST_IMAGES = {"imagenet": 40, "cifar10": 1000}


def measure(setting: Setting, table: ScoreTable) -> dict[str, Any]:
    """Simulate one run."""
    began = time.perf_counter()
    cluster = Cluster(setting, table)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=setting.images)
        for now in cluster.run():
            what = f"{setting.gpus:,} GPUs, {now:,.0f} s"
            bar.update(task, description=what, completed=cluster.decided)
    counters = [scheduler.counters for scheduler in cluster.schedulers]
    n_evaluations = sum(c.n_evaluations for c in counters)
    n_rows, n_scored = sum(c.n_rows for c in counters), sum(c.n_scored for c in counters)
    result: dict[str, Any] = {
        "workload": setting.workload.name,
        "gpus": setting.gpus,
        "shards": setting.shards,
        "images": setting.images,
        "images_lost": setting.images - cluster.decided + cluster.errors,
        "evaluations_per_image": round(n_evaluations / setting.images, 1),
        "spent_per_image": round(sum(c.n_spent for c in counters) / setting.images, 1),
        "used_fraction": round(n_evaluations / n_rows, 4),
        "padding_fraction": round(1 - n_scored / n_rows, 4),
        "node_losses": cluster.losses,
        "peak_memory_mb": round(cluster.peak_memory_bytes / 1e6, 1),
        "clock": setting.clock,
        "message_seconds": setting.message_seconds,
        "real_seconds": round(time.perf_counter() - began, 1),
    }
    most, end = cluster.at_99, cluster.at_end
    if most is None or end is None:
        return result | {"stalled": True}
    return result | {
        "busy_fraction": round(most.busy_gpu_seconds / most.alive_gpu_seconds, 4),
        "busy_fraction_with_tail": round(end.busy_gpu_seconds / end.alive_gpu_seconds, 4),
        "scheduler_seconds_per_micro_batch": round(end.engine_seconds / end.micro_batches, 6),
        "scheduler_load": round(most.scheduler_load, 4),
        "messages_per_second": round(most.messages / most.seconds, 1),
        "virtual_seconds_to_99": round(most.seconds, 1),
        "virtual_seconds": round(end.seconds, 1),
    }


COLUMNS = {
    "gpus": ("GPUs", 6, ","),
    "images": ("images", 8, ","),
    "busy_fraction": ("busy", 8, ".1%"),
    "busy_fraction_with_tail": ("+tail", 8, ".1%"),
    "scheduler_load": ("load", 8, ".1%"),
    "scheduler_seconds_per_micro_batch": ("s/m-batch", 11, ".5f"),
    "messages_per_second": ("msg/s", 8, ",.0f"),
    "peak_memory_mb": ("MB", 7, ",.0f"),
    "evaluations_per_image": ("eval/img", 10, ",.0f"),
    "used_fraction": ("used", 8, ".1%"),
    "padding_fraction": ("padding", 9, ".2%"),
    "virtual_seconds": ("seconds", 9, ",.0f"),
    "node_losses": ("losses", 8, ","),
    "images_lost": ("lost", 6, ","),
}


def print_row(row: dict[str, Any]) -> None:
    cells = [
        f"{row[key]:>{width}{form}}" if key in row else f"{'stalled':>{width}}"
        for key, (_, width, form) in COLUMNS.items()
    ]
    print("".join(cells), flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="imagenet")
    parser.add_argument("--gpus", type=int, help="one size, on the whole data set")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="of the table")
    parser.add_argument("--images", type=int, help="default: all; in the table, some a GPU")
    parser.add_argument("--shards", type=int, help="schedulers; default: as a run has, 1 for 250")
    parser.add_argument("--speed", type=float, default=Setting.speed, help="rows/s of a GPU")
    parser.add_argument("--batch-size", type=int, default=Setting.batch_size)
    parser.add_argument("--message-ms", type=float, default=1e3 * Setting.message_seconds)
    parser.add_argument("--node-hours", type=float, default=Setting.node_hours)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default=Setting.clock)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="30 images of cifar10 on 4 GPUs")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.workload, chosen.gpus, chosen.images = "cifar10", 4, 30
    return chosen


def main() -> None:
    chosen = options()
    workload = WORKLOADS[chosen.workload]
    table = ScoreTable(workload, chosen.seed)

    def setting(gpus: int, images: int) -> Setting:
        return Setting(
            workload=workload,
            gpus=gpus,
            images=images,
            shards=min(chosen.shards or -(-gpus // WORKERS_PER_SCHEDULER), gpus),
            speed=chosen.speed,
            batch_size=chosen.batch_size,
            message_seconds=chosen.message_ms / 1e3,
            node_hours=chosen.node_hours,
            clock=chosen.clock,
            seed=chosen.seed,
        )

    rows = []
    sizes = [chosen.gpus] if chosen.gpus else [int(size) for size in chosen.sizes.split(",")]
    if not chosen.json:
        print("".join(f"{title:>{width}}" for title, width, _ in COLUMNS.values()), flush=True)
    for gpus in sizes:
        some = max(LEAST_IMAGES[workload.name], IMAGES_PER_GPU[workload.name] * gpus)
        images = workload.n_images if chosen.gpus else min(workload.n_images, some)
        rows.append(measure(setting(gpus, chosen.images or images), table))
        if not chosen.json:
            print_row(rows[-1])
    if chosen.json:
        print(json.dumps(rows[0] if chosen.gpus else {"rows": rows}))
    elif not chosen.gpus:
        print(
            f"{workload.name} has {workload.n_images:,} images; a row with fewer was cut to stay "
            "short, and its start and tail weigh more than a whole run's."
        )


if __name__ == "__main__":
    main()
