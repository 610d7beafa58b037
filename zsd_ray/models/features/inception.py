"""Inception-v3 with the weights that FID was defined with, by torch-fidelity.

Heusel et al. 2017 used TensorFlow's network of 2015-12-05, which pools as torchvision's does not:
torch-fidelity has it in torch, with TensorFlow 1's resize to 299 x 299: bilinear, place i of the
output read at i times the scale, without antialiasing.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.models.denoiser import ImageFeatures
from zsd_ray.models.files.loading import refuse_not_finite
from zsd_ray.models.files.weight_files import check_whole
from zsd_ray.models.torchvision_ops import declare_missing_operators
from zsd_ray.records.errors import UserError, last_line
from zsd_ray.records.redaction import redact

PUBLISHED = "6726825d"
"""How the SHA-256 of the published file starts; it is in the file's name, too."""
_FILE = f"weights-inception-2015-12-05-{PUBLISHED}.pth"
_LAYER = "2048"
_LONGEST = 300


def check_weights(path: str) -> str:
    """Check a weights file and return its SHA-256.

    Raises:
        UserError: it is missing or damaged.
    """
    file = Path(os.path.expanduser(path))
    if not file.exists():
        raise UserError(
            f"extractor.weights {path} is no file; get {_FILE} from the releases of torch-fidelity "
            "(toshas/torch-fidelity on GitHub, v0.2.0), or choose another extractor.kind"
        )
    check_whole([file])
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def load_inception(path: str, device: torch.device) -> ImageFeatures:
    """Load the network.

    Raises:
        UserError: the file holds other weights, or no weights.
    """
    declare_missing_operators()
    from torch_fidelity import FeatureExtractorInceptionV3

    torch.backends.cudnn.allow_tf32 = False
    # The library unpickles what it is given; so it gets what we have read without running code.
    file, buffer = Path(os.path.expanduser(path)), io.BytesIO()
    torch.save(_read(file), buffer)
    buffer.seek(0)
    try:
        network = FeatureExtractorInceptionV3(
            "inception", [_LAYER], feature_extractor_weights_path=buffer
        )
    except (RuntimeError, TypeError, AttributeError) as error:  # it may hold anything
        text = redact(" ".join(str(error).split()))[:_LONGEST]
        raise UserError(
            f"extractor.weights {path} are not those of this network ({text}); get {_FILE}"
        ) from error
    refuse_not_finite(file, network.state_dict())
    network = network.to(device)

    @torch.inference_mode()
    def features(pictures_BHW3: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = torch.from_numpy(np.ascontiguousarray(pictures_BHW3.transpose(0, 3, 1, 2)))
        vectors: NDArray[np.float32] = network(images.to(device))[0].cpu().numpy()
        return vectors

    return features


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            weights: dict[str, Any] = load_file(str(file))
            return weights
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and safetensors have errors of their own
        raise UserError(f"extractor.weights {file} cannot be read ({last_line(error)})") from error
    return weights
