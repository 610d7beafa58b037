"""A tiny CLIP, 32 x 32 pixels: as open_clip publishes a folder, or a file of weights."""

import json

import torch
from safetensors.torch import save_file

from zsd_ray.models.files.clip_files import open_clip

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 2,
    },
}
PREPROCESS = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.3],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
PROMPTS = ["a photo of a cat.", "a drawing of a dog", "a bird"]


def network():
    """Random weights, none of them zero."""
    torch.manual_seed(0)
    made = open_clip().CLIP(**CONFIG)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def clip_folder(folder, name="open_clip_model.safetensors"):
    folder.mkdir(parents=True)
    save_file(network().state_dict(), folder / name)
    config = {"model_cfg": CONFIG, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return PROMPTS, {"path": str(folder)}


def clip_file(folder, name="tiny-clip"):
    """An architecture that open_clip knows by name, in this process, and its weights."""
    folder.mkdir(parents=True)
    (folder / f"{name}.json").write_text(json.dumps(CONFIG))
    open_clip().add_model_config(folder / f"{name}.json")
    save_file(network().state_dict(), folder / "weights.safetensors")
    return PROMPTS, {"path": name, "pretrained": str(folder / "weights.safetensors")}
