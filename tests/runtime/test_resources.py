"""What workers are given."""

import warnings

import pytest
import torch

from tests.support.models import fingerprint
from zsd_ray.config.run import ClusterConfig, RunConfig, parse_config
from zsd_ray.records.errors import UserError
from zsd_ray.runtime import cluster, crew, model_worker, resources, train_on_ray


@pytest.mark.parametrize(
    ("gpus", "variables"),
    [
        (0, {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": ""}),
        (0.5, {"OMP_NUM_THREADS": "4"}),  # Ray names those that it gives
        (2, {"OMP_NUM_THREADS": "4"}),
    ],
)
def test_a_worker_that_asks_for_no_gpu_sees_none(gpus, variables):
    given = {"num_gpus": gpus, "num_cpus": 4, "runtime_env": {"env_vars": variables}}
    assert resources.options(gpus, 4) == given


@pytest.mark.parametrize("address", [None, "auto"])
def test_a_cuda_device_needs_a_gpu_for_each_worker(address):
    config = ClusterConfig(address=address)
    with (
        pytest.raises(UserError, match=r"^model\.device cuda:0 needs cluster\.gpus"),
        cluster.cluster(config, "cuda:0"),
    ):
        raise AssertionError


@pytest.mark.parametrize(
    ("gpus", "device", "there", "refused"),
    [
        (1, "auto", False, True),
        (0.5, "cuda:0", False, True),
        (1, "auto", True, False),
        (1, "cpu", False, False),  # as on the pretended GPUs of cluster/local.sh
        (0, "auto", False, False),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_no_processor(gpus, device, there, refused, monkeypatch):
    def is_available():
        if not there:
            warnings.warn(
                "The NVIDIA driver on your system is too old (found 12020).", stacklevel=2
            )
        return there

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    said = None
    try:
        resources.check_gpu(gpus, device)
    except UserError as error:
        said = str(error)
    assert refused == (said is not None)
    if said is None:
        return
    assert said.startswith(f"cluster.gpus_per_worker {gpus:g}: torch {torch.__version__}, a build")
    assert "sees no CUDA device on" in said
    assert "(The NVIDIA driver on your system is too old (found 12020).)" in said
    assert said.endswith("or set device: cpu")


def model_worker_starts():
    config = parse_config(RunConfig, {"cluster": {"gpus_per_worker": 1}})
    actor = model_worker.ModelWorker.__ray_metadata__.modified_class
    actor(config, fingerprint(config.model)).ready()


def crew_does_a_piece():
    actor = crew._Worker.__ray_metadata__.modified_class
    actor(b"", 1, "auto").do("piece")


def training_starts():
    train_on_ray._check_gpu._function(1)


@pytest.mark.parametrize("work", [model_worker_starts, crew_does_a_piece, training_starts])
def test_every_kind_of_worker_looks_for_its_gpu(work, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # a worker takes it over
    with pytest.raises(UserError, match=r"gpus_per_worker 1: .* sees no CUDA device"):
        work()
