"""A tiny supervised classifier of ten labels: as timm saves a folder, or a file of weights."""

import torch
from safetensors.torch import save_file

from zsd_ray.models.files.timm_files import timm

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def network(name="test_resnet", n_labels=10):
    torch.manual_seed(0)
    return timm().create_model(name, num_classes=n_labels).eval()


def timm_folder(folder):
    from timm.models import save_for_hf

    save_for_hf(
        network(),
        folder,
        safe_serialization=True,
        model_config={"label_names": NAMES},
        model_args={"num_classes": 10},
    )
    return ["two", "nine", "zero"], {"path": str(folder)}


def timm_file(folder):
    folder.mkdir(parents=True)
    save_file(network("test_vit", 7).state_dict(), folder / "weights.safetensors")
    labels = [f"kind {number}" for number in range(7)]
    keys = {"path": "test_vit", "pretrained": str(folder / "weights.safetensors"), "labels": labels}
    return ["kind 6", "2"], keys
