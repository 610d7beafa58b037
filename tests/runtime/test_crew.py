"""Pieces of work on Ray: results in order, through losses, and errors as themselves."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from zsd_ray.config.run import ClusterConfig
from zsd_ray.records.errors import RunBrokenError, UserError
from zsd_ray.runtime.crew import Crew
from zsd_ray.runtime.pieces import do_here

CREW = Crew(ClusterConfig(workers=2))


def make_square(folder: Path):
    sees = os.environ.get("CUDA_VISIBLE_DEVICES", "all GPUs of the node")
    (folder / f"made-{os.getpid()}").write_text(sees)

    def square(piece):
        number, deaths = piece
        if number == "bad":
            raise UserError("this piece is bad")
        died = len(list(folder.glob(f"died-{number}-*")))
        if died < deaths:
            (folder / f"died-{number}-{died}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05 * (number % 3))  # so that answers come in another order
        return number**2

    return square


def pieces(numbers, deaths=()):
    return [(number, dict(deaths).get(number, 0)) for number in numbers]


def test_results_come_in_order_through_the_loss_of_workers(local_ray, tmp_path):
    work = pieces(range(20), deaths={3: 1, 11: 2})
    assert list(CREW(partial(make_square, tmp_path), work)) == [n**2 for n in range(20)]
    assert len(list(tmp_path.glob("died-*"))) == 3
    # Each process makes its work once: two, and those that took the place of the dead.
    made = list(tmp_path.glob("made-*"))
    assert len(made) == 5
    assert {file.read_text() for file in made} == {""}  # they asked for no GPU


def test_here_and_on_a_cluster_alike(local_ray, tmp_path):
    make, work = partial(make_square, tmp_path), pieces([5, 2, 9])
    assert list(do_here(make, work)) == list(CREW(make, work)) == [25, 4, 81]
    assert list(do_here(make, [])) == list(CREW(make, [])) == []


def test_a_worker_that_has_no_place_holds_nothing_up(local_ray, tmp_path):
    """Of two workers of 5 cores, 8 cores hold one."""
    crew = Crew(ClusterConfig(workers=2, cpus_per_worker=5))
    assert list(crew(partial(make_square, tmp_path), pieces(range(6)))) == [0, 1, 4, 9, 16, 25]


def test_an_error_of_a_piece_is_the_callers(local_ray, tmp_path):
    with pytest.raises(UserError, match=r"^this piece is bad$"):
        list(CREW(partial(make_square, tmp_path), [(1, 0), ("bad", 0)]))


def test_a_piece_that_kills_every_worker_ends_the_work(local_ray, tmp_path):
    with pytest.raises(RunBrokenError, match="lost again and again"):
        list(CREW(partial(make_square, tmp_path), pieces([1, 2], deaths={2: 100})))
