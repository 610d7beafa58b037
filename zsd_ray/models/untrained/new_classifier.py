"""A new timm classifier with random weights, from which `zsd-ray train` starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zsd_ray.config.training import ClassifierTraining
from zsd_ray.models.files.single_file import nearest
from zsd_ray.models.files.timm_files import timm
from zsd_ray.records.errors import UserError


@dataclass(frozen=True)
class NewClassifier:
    """A network, and its configuration for the folder."""

    network: Any
    classes: Sequence[str]
    kwargs: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write a timm folder, with the names of the labels; float32."""
        from timm.models import save_for_hf

        save_for_hf(
            self.network,
            folder,
            safe_serialization=True,
            model_config={"label_names": list(self.classes)},
            model_args=self.kwargs,
        )


def check(config: ClassifierTraining) -> None:
    """Check that timm has the architecture; raises UserError."""
    library = timm()
    if not library.is_model(config.architecture):
        near = nearest(config.architecture, library.list_models())
        raise UserError(f"architecture {config.architecture} is not a name of timm's{near}")


def build(config: ClassifierTraining) -> NewClassifier:
    """Build the network.

    Raises:
        UserError: it does not accept these `kwargs`.
    """
    torch.manual_seed(config.seed)
    n = len(config.classes)
    try:
        network = timm().create_model(config.architecture, num_classes=n, **config.kwargs)
    except (TypeError, RuntimeError) as error:
        raise UserError(
            f"architecture {config.architecture} does not take kwargs {config.kwargs}: {error}"
        ) from error
    size = config.image_size
    # How the images come, so that whoever loads the folder prepares them alike.
    network.pretrained_cfg.update(
        input_size=(3, size, size),
        fixed_input_size=False,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        crop_pct=1.0,
        crop_mode="center",
        interpolation="bicubic",
        num_classes=n,
    )
    return NewClassifier(network, config.classes, {"num_classes": n, **config.kwargs})
