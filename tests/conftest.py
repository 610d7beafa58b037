"""Shared pieces: a tiny model in the real folder format, and a real local Ray."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Machines are busy; a slow example is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Before torch, transformers or ray are imported anywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("MLFLOW_TRACKING_URI", None)

CAPTIONS = ["a photo of a cat.", "a photo of a dog.", "a drawing of a dog"]


@pytest.fixture(scope="session")
def tiny_components():
    """Random weights, a few thousand parameters; do not change them."""
    from zsd_ray.models.tiny_stable_diffusion import build
    from zsd_ray.spec.train_config import NetworkConfig

    network = NetworkConfig(
        image_size=16,
        vae_channels=(8, 16),
        unet_channels=(8, 32),
        unet_layers=1,
        text_width=32,
        text_layers=1,
        prompt_length=12,
    )
    return build(network, CAPTIONS, seed=0)


@pytest.fixture(scope="session")
def tiny_model(tiny_components, tmp_path_factory) -> Path:
    """The same as a pipeline folder on disk, in float32."""
    import torch

    folder = tmp_path_factory.mktemp("tiny-model")
    tiny_components.save(folder, torch.float32)
    return folder


@pytest.fixture(scope="session")
def local_ray():
    """One Ray for all tests that need one; a run inside it leaves it standing."""
    import ray

    ray.init(
        num_cpus=8,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    yield ray
    ray.shutdown()
