"""What workers are given."""

import pytest

from zsd_ray.runtime import cluster, resources
from zsd_ray.spec.config import ClusterConfig
from zsd_ray.spec.errors import UserError


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
        pytest.raises(
            UserError, match=r"^model\.device cuda:0 needs cluster\.gpus"
        ),
        cluster.cluster(config, "cuda:0"),
    ):
        raise AssertionError
