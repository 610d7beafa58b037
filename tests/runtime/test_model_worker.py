"""The model-worker actor refuses to score with another model than the driver planned for."""

import shutil

import pytest
from ray.exceptions import RayTaskError

from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.models.files.source import fingerprint
from zsd_ray.runtime.model_worker import ModelWorker


def test_a_worker_with_other_model_files_than_the_driver_is_refused(
    local_ray, tiny_model, tmp_path
):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    config = parse_config(RunConfig, {"model": {"path": str(folder), "device": "cpu"}})
    at_the_driver = fingerprint(folder)
    weights = next((folder / "unet").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # retrained: nothing but numbers differ
    weights.write_bytes(content)

    actors = [
        ModelWorker.remote(config, expected) for expected in (at_the_driver, fingerprint(folder))
    ]
    refused, accepted = actors
    with pytest.raises(RayTaskError, match=f"{folder} has other files here than at the driver"):
        local_ray.get(refused.ready.remote())
    assert local_ray.get(accepted.ready.remote()) == local_ray.get_runtime_context().get_node_id()
    for actor in actors:
        local_ray.kill(actor)
