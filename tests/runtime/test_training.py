"""Training by two processes: connected here, and by Ray Train, which loses one."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from tests.support.processes import SECONDS, actors
from tests.training.small import CLASSIFIER, CONTRASTIVE, DDPM, configure
from zsd_ray.api import train
from zsd_ray.records.errors import RunBrokenError, UserError
from zsd_ray.runtime.train_on_ray import _follow
from zsd_ray.training.news import Steps
from zsd_ray.training.process import train_here

# Odd batches, so that shares differ.
STEPS, CHECKPOINT = 90, 15
MANY = {
    "data": {"limit": 21},
    "epochs": 30,
    "optimiser": {"batch_size": 7},
    "output": {"checkpoint_every": 5},
}
# Batch normalisation, whose moments are the whole batch's, costs a message a layer.
FEW = {"data": {"limit": 21}, "epochs": 3, "optimiser": {"batch_size": 7}}
TRAININGS = [
    ("ddpm", DDPM, MANY),
    ("classifier", CLASSIFIER, FEW),
    ("contrastive", CONTRASTIVE, FEW),
]

AS_RANK = """
import sys
import torch
from torch import distributed
from zsd_ray.config.training import load_training
from zsd_ray.training.ranks import Ranks
from zsd_ray.training.process import train_here

meeting, rank, *paths = sys.argv[1:]
distributed.init_process_group("gloo", init_method=meeting, rank=int(rank), world_size=2)
for path in paths:
    train_here(load_training(path), lambda news: None, Ranks(int(rank), 2), torch.device("cpu"))
distributed.destroy_process_group()
"""


def losses(folder):
    table = pq.read_table(folder / "loss.parquet")
    assert table["step"].to_pylist() == list(range(1, len(table) + 1))
    return table["loss"].to_pylist()


@pytest.fixture(scope="module")
def of_two(a_process, tmp_path_factory):
    """The curves of two processes that nothing happens to, without Ray."""
    folder = tmp_path_factory.mktemp("two")
    paths = []
    for name, tree, changes in TRAININGS:
        config = configure(folder / name, tree, **changes, cluster={"workers": 2})
        paths.append(folder / f"{name}.yaml")
        paths[-1].write_text(json.dumps(config.model_dump(mode="json")))
    meeting = f"file://{folder}/meeting"
    ranks = [
        subprocess.Popen([sys.executable, "-c", AS_RANK, meeting, str(rank), *map(str, paths)])
        for rank in range(2)
    ]
    assert [process.wait(SECONDS) for process in ranks] == [0, 0]
    return {path.stem: losses(folder / path.stem) for path in paths}


@pytest.mark.full
@pytest.mark.parametrize(("name", "tree", "changes"), TRAININGS)
def test_two_processes_have_the_curve_of_one(of_two, tmp_path, name, tree, changes):
    train_here(configure(tmp_path, tree, **changes), lambda news: None, device=torch.device("cpu"))
    alone = losses(tmp_path)
    # Rounding differs, and what it does to the weights grows from step to step.
    assert len(of_two[name]) == len(alone)
    assert of_two[name][:3] == pytest.approx(alone[:3], rel=1e-4)
    assert of_two[name][:9] == pytest.approx(alone[:9], rel=1e-2)
    assert sum(of_two[name]) == pytest.approx(sum(alone), rel=0.05)
    assert alone[-1] < 0.9 * alone[0]


def test_a_killed_worker_changes_no_bit(local_ray, of_two, tmp_path):
    killed, environments = [], []

    def on_progress(steps, images_per_second):
        workers = actors(os.getpid(), "RayTrainWorker")
        if not killed and workers and CHECKPOINT <= steps.done < steps.total:
            environment = Path(f"/proc/{workers[-1]}/environ").read_bytes()
            if not environment:  # it has just ended by itself
                return
            killed.append(workers[-1])
            environments.append(environment.split(b"\0"))
            os.kill(killed[0], signal.SIGKILL)

    for attempt in range(5):
        folder = tmp_path / str(attempt)
        train(configure(folder, DDPM, **MANY, cluster={"workers": 2}), on_progress=on_progress)
        assert len(losses(folder)) == STEPS
        assert losses(folder) == of_two["ddpm"]
        if killed:
            break
    assert killed, "every training was over before its news came"
    assert b"CUDA_VISIBLE_DEVICES=" in environments[0]  # of no GPU: none was asked for


class Trainer:
    """Stands for Ray Train: what its workers say, and how each of its attempts ends."""

    def __init__(self, attempts, failure=None):
        self.attempts, self.failure, self.n_fits, self.news = attempts, failure, 0, []

    async def fit(self):
        if self.failure is not None:
            await asyncio.Event().wait()  # workers that wait for the one that failed
        done = self.attempts[self.n_fits]
        self.n_fits += 1
        self.news.append(Steps("denoiser", done, 9, None, (0.5,), 1))
        return "a worker died"

    async def take(self):
        news, self.news = self.news, []
        return news, self.failure

    async def count(self):
        return self.n_fits


def test_what_a_worker_cannot_do_is_said_at_once(local_ray):
    trainer = local_ray.remote(Trainer).remote([], UserError("no such thing"))
    with pytest.raises(UserError, match="no such thing"):
        _follow(trainer, print)


def test_lost_workers_are_started_again_while_they_get_further(local_ray):
    trainer, told = local_ray.remote(Trainer).remote([3, 5, 5]), []
    with pytest.raises(RunBrokenError, match=r"again and again.*a worker died"):
        _follow(trainer, told.append)
    assert [steps.done for steps in told] == [3, 5, 5]
    assert local_ray.get(trainer.count.remote()) == 3
