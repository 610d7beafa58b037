"""A run that waits for a test, so that what the test does in the middle of it is in the middle.

    python tests/support/held_run.py RUN.yaml FOLDER reading|checkpoint

reading: on Ray; no image can be read. checkpoint: in this process; the run stops after the first
checkpoint that knows draws of an undecided image. A process that waits has a file FOLDER/<its pid>;
all go on once there is a file FOLDER/go. Prints the run's warnings.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from zsd_ray.config.run import RunConfig, load_config
from zsd_ray.evaluation.evaluate import run_plan
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.results.output import Output
from zsd_ray.results.rows.checkpoint import Checkpoint


class Held:
    """The same images; reading waits."""

    def __init__(self, dataset: Any, folder: Path) -> None:
        self.records = dataset.records
        self.label_names = dataset.label_names
        self._dataset = dataset
        self._folder = folder

    def read(self, index: int) -> Any:
        wait(self._folder)
        return self._dataset.read(index)


def wait(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    while not (folder / "go").exists():
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("folder", type=Path)
    parser.add_argument("held", choices=("reading", "checkpoint"))
    options = parser.parse_args()
    folder = options.folder
    folder.mkdir(exist_ok=True)
    plan = make_plan(load_config(RunConfig, options.config))
    write = Output.write_checkpoint

    def write_and_wait(output: Output, shard: int, content: bytes) -> None:
        write(output, shard, content)
        if any(state.n_draws for state in Checkpoint.from_bytes(content).states):
            wait(folder)

    local = options.held == "checkpoint"
    if local:
        Output.write_checkpoint = write_and_wait  # type: ignore[method-assign]
    else:
        plan = replace(plan, dataset=Held(plan.dataset, folder))
    run_plan(plan, local, None, lambda warning: print(warning, flush=True))


if __name__ == "__main__":
    main()
