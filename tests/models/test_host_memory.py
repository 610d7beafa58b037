"""A network is on the host once when it is loaded, and not at all where it goes to a GPU."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from zsd_ray.config.run import ModelConfig
from zsd_ray.models import registry
from zsd_ray.models.files.components import load_network
from zsd_ray.models.torchvision_ops import declare_missing_operators

KIND = "DiTTransformer2DModel"
SHAPES = {
    "num_attention_heads": 8,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 6,
    "sample_size": 8,
    "patch_size": 2,
    "num_embeds_ada_norm": 10,
}


def resident():
    """Bytes of this process that are in memory."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.fixture
def folder(tmp_path):
    """The weights of a DiT in float16, 80 MB."""
    declare_missing_operators()
    import diffusers

    with torch.device("meta"):
        network = getattr(diffusers, KIND)(**SHAPES).half()
    weights = {
        name: torch.zeros(of.shape, dtype=of.dtype) for name, of in network.state_dict().items()
    }
    save_file(weights, tmp_path / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(SHAPES | {"_class_name": KIND}))
    return tmp_path


def test_a_network_is_on_the_host_once(folder):
    load_network(KIND, folder, ModelConfig(device="cpu"), torch.bfloat16)  # whatever it imports
    before = resident()
    network = load_network(KIND, folder, ModelConfig(device="cpu"), torch.bfloat16)
    taken = resident() - before
    size = sum(of.numel() * of.element_size() for of in network.parameters())
    assert size > 75e6
    assert taken < 1.4 * size  # it was twice that: the file's pages stayed


def test_a_network_goes_to_a_gpu_without_a_stay_on_the_host(folder, monkeypatch):
    import diffusers

    asked = {}

    def from_pretrained(folder, **options):
        asked.update(options)
        return torch.nn.Linear(1, 1), {}

    monkeypatch.setattr(registry, "device_of", lambda config: torch.device("cuda:1"))
    monkeypatch.setattr(getattr(diffusers, KIND), "from_pretrained", from_pretrained)
    load_network(KIND, folder, ModelConfig(), torch.bfloat16)
    assert asked["device_map"] == {"": torch.device("cuda:1")}
    assert asked["low_cpu_mem_usage"]
