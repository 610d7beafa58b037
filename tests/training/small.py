"""Small trainings of each kind, of a few seconds at most."""

from zsd_ray.config.data import keys_of
from zsd_ray.config.training import parse_training
from zsd_ray.training.process import train_here
from zsd_ray.training.training_session import train

DIGITS = [str(digit) for digit in range(10)]

TEXT_TO_IMAGE = {
    "kind": "text-to-image",
    "network": {
        "image_size": 16,
        "vae_channels": [8, 16],
        "unet_channels": [8, 32],
        "unet_layers": 1,
        "text_width": 32,
        "text_layers": 1,
    },
    "captions": {
        "names": [[digit] for digit in DIGITS],
        "templates": ["a photo of the digit {}.", "{}"],
    },
    "augment": {"degrees": 10, "scale": [0.8, 1.1], "shift": 0.1, "contrast": 2},
    "vae": {"steps": 4, "batch_size": 8},
    "denoiser": {"steps": 6, "batch_size": 8},
    "samples": {"images": 3, "steps": 2},
    "output": {"checkpoint_every": 3},
}

DDPM = {
    "kind": "ddpm",
    "network": {"image_size": 8, "image_channels": 1, "channels": [8, 16], "layers": 1},
    "data": {"limit": 20},
    "augment": {"mirror": True},
    "epochs": 4,
    "optimiser": {"batch_size": 8, "learning_rate": 0.01},
    "samples": {"images": 3, "steps": 2},
    "output": {"checkpoint_every": 2},
}

CLASSIFIER = {
    "kind": "classifier",
    "architecture": "test_resnet",
    "image_size": 32,
    "classes": DIGITS,
    "data": {"limit": 20},
    "epochs": 4,
    "optimiser": {"batch_size": 8},
    "output": {"checkpoint_every": 2},
}

CONTRASTIVE = {
    "kind": "contrastive",
    "network": {
        "image_size": 32,
        "image_width": 4,
        "text_width": 16,
        "text_layers": 1,
        "embedding_width": 16,
    },
    "captions": {
        "names": [[digit] for digit in DIGITS],
        "templates": ["a photo of the digit {}.", "{}"],
    },
    "data": {"limit": 20},
    "epochs": 4,
    "negatives": 7,
    "optimiser": {"batch_size": 8, "learning_rate": 0.003},
    "output": {"checkpoint_every": 2},
}

KINDS = {
    "text-to-image": TEXT_TO_IMAGE,
    "ddpm": DDPM,
    "classifier": CLASSIFIER,
    "contrastive": CONTRASTIVE,
}


def configure(path, tree, **sections):
    """A configuration with some sections' keys replaced, without MLflow."""
    tree = {**tree, "tracking": {"mlflow": "off"}}
    tree["output"] = {**tree["output"], "path": str(path)}
    for name, value in sections.items():
        tree[name] = {**tree.get(name, {}), **value} if isinstance(value, dict) else value
    data = tree.get("data", {})
    if "split" in keys_of(data.get("source", "digits")):
        tree["data"] = {"split": "train", **data}
    return parse_training(tree)


def train_local(config, on_steps=lambda steps: None):
    """Train in this process; `on_steps` may raise, as a killed process would end."""
    return train(config, train_here, lambda steps, speed: on_steps(steps), print)
