"""The batch size grows while a row gets cheaper and memory lasts; then it is remembered."""

import pytest
import torch

from zsd_ray.config.run import UNMEASURED
from zsd_ray.scoring.batch_size import automatic, measured


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


class Gpu:
    """CUDA's memory, made up: of 1,000 bytes a network has 100, and a row takes one.

    A row is much cheaper in company. `wide` is how many elements its largest tensor has.
    """

    def __init__(self, monkeypatch, before=100, wide=1):
        self.name, self.total_memory, self.wide = "H200", 1000, wide
        self.reserved = self.peak = before
        self.tried = []
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: self)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: self.reserve(100))
        monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: self.peak)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: self.reset())

    def reserve(self, size):
        if size > self.total_memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.reserved = size
        self.peak = max(self.peak, size)

    def reset(self):
        self.peak = self.reserved

    def seconds(self, n_rows):
        self.tried.append(n_rows)
        self.reserve(max(self.reserved, 100 + n_rows))
        torch.zeros(n_rows, self.wide, device="meta").add(1)
        return 10**6 + n_rows

    def automatic(self, key="a model", **options):
        return automatic(self.seconds, torch.device("cuda"), key, **options)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_it_is_remembered_for_the_device_torch_and_the_model(monkeypatch):
    gpu = Gpu(monkeypatch)
    assert gpu.automatic() == gpu.automatic() == 512
    each = len(gpu.tried)
    assert gpu.tried == [8, 8, 16, 32, 64, 128, 256, 512]
    gpu.automatic("another")
    gpu.name = "A100"
    gpu.automatic()
    monkeypatch.setattr(torch, "__version__", "2.99")
    gpu.automatic()
    assert len(gpu.tried) == 4 * each


def test_what_a_process_had_on_the_device_before_does_not_count(monkeypatch):
    """A text encoder's 900 of 1,000 bytes, by the allocator's peak, and kept by it."""
    assert Gpu(monkeypatch, before=900).automatic() == 512


def test_workers_that_share_a_device_share_its_memory(monkeypatch):
    gpu = Gpu(monkeypatch)
    assert gpu.automatic(share=0.5) == 128
    assert gpu.automatic() == 512  # which is another thing to remember
    assert gpu.automatic(share=0.5) == 128


@pytest.mark.parametrize(("wide", "size"), [(2**22, 256), (2**24, 64), (2**30, 8)])
def test_no_tensor_is_larger_than_32_bits_count(monkeypatch, wide, size):
    gpu = Gpu(monkeypatch, wide=wide)
    assert gpu.automatic() == size
    assert max(gpu.tried) == size


def test_a_processor_takes_what_is_usual(monkeypatch):
    assert automatic(lambda n: pytest.fail("it was tried"), torch.device("cpu"), "") == UNMEASURED
