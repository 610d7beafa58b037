"""The batch size grows while a row gets cheaper and memory lasts; then it is remembered."""

import types

import pytest
import torch

from zsd_ray.engine import batch_size
from zsd_ray.engine.batch_size import UNMEASURED, automatic, measured


def device_of(overhead, fits):
    """Seconds and memory of a made-up device: a forward costs `overhead` rows, `fits` rows fit."""
    tried = []

    def seconds(n_rows):
        tried.append(n_rows)
        if n_rows > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return overhead + n_rows

    return seconds, lambda: tried[-1] / fits, tried


def test_it_grows_until_a_row_gets_no_cheaper():
    seconds, share, tried = device_of(overhead=100, fits=10**9)
    assert measured(seconds, share) == 2048
    seconds, share, tried = device_of(overhead=1, fits=10**9)
    assert measured(seconds, share) == 32  # 33/32 a row, and 65/64 with twice as many
    assert tried == [8, 16, 32, 64]


@pytest.mark.parametrize("fits", [9, 40, 100, 1000])
def test_it_stops_where_memory_does(fits):
    seconds, share, tried = device_of(overhead=10**6, fits=fits)
    size = measured(seconds, share)
    assert size <= fits < 4 * size
    assert max(tried) <= fits, "it went where it was bound to fail"


def test_a_failed_attempt_is_survived():
    seconds, _, tried = device_of(overhead=10**6, fits=100)
    assert measured(seconds, lambda: 0.0) == 64
    assert tried[-1] == 128


def test_a_device_too_small_for_anything_says_so():
    seconds, share, _ = device_of(overhead=1, fits=4)
    with pytest.raises(torch.OutOfMemoryError):
        measured(seconds, share)


def test_it_is_remembered_for_the_device_and_the_model(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    device = types.SimpleNamespace(name="H200", total_memory=1000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: device)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    seconds, share, tried = device_of(overhead=1, fits=10**9)
    monkeypatch.setattr(batch_size, "_memory_share", lambda _: share())
    cuda = torch.device("cuda")
    assert automatic(seconds, cuda, "a model") == automatic(seconds, cuda, "a model") == 32
    assert len(tried) == 4
    automatic(seconds, cuda, "another")
    device.name = "A100"
    automatic(seconds, cuda, "a model")
    assert len(tried) == 12


def test_a_processor_takes_what_is_usual(monkeypatch):
    assert automatic(lambda n: pytest.fail("it was tried"), torch.device("cpu"), "") == UNMEASURED
