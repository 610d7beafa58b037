"""Loading the feature extractor for FID, by the kind of its section."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from zsd_ray.config.run import ModelConfig
from zsd_ray.data.pictures.transforms import to_model_range, to_square
from zsd_ray.models.denoiser import ImageFeatures
from zsd_ray.models.families.timm_classifier import TimmAdapter
from zsd_ray.models.features.clip_embedding import load_embedding
from zsd_ray.models.features.inception import load_inception
from zsd_ray.models.features.probe_features import FeatureExtractor
from zsd_ray.models.registry import device_of, resolve_model
from zsd_ray.storage.store import Store
from zsd_ray.studies.fid.fid_config import (
    ClipExtractor,
    DenoiserExtractor,
    ExtractorConfig,
    InceptionExtractor,
    TimmExtractor,
)

Pictures = NDArray[np.uint8]
Vectors = NDArray[np.float32]


def load_features(config: ExtractorConfig, seed: int, n_rows: int, store: Store) -> ImageFeatures:
    """Load a checked extractor (see `extractors.check_extractor`).

    Args:
        seed: of the noise that a denoiser sees; n_rows: of every forward of it.
        store: how a URL is reached.

    Raises:
        UserError: it does not fit its kind, or its device is not there.
    """
    if isinstance(config, DenoiserExtractor):
        return _of_denoiser(config, seed, n_rows, store)
    device = device_of(ModelConfig(device=config.device))
    if isinstance(config, InceptionExtractor):
        return load_inception(config.weights, device)
    if isinstance(config, ClipExtractor):
        return _of_clip(config, device, store)
    return _of_timm(config, device, store)


def _of_clip(config: ClipExtractor, device: torch.device, store: Store) -> ImageFeatures:
    embed = load_embedding(config.path, config.pretrained, device, store)
    return lambda pictures: (
        embed(torch.from_numpy(to_model_range(pictures)).to(device)).cpu().numpy()
    )


def _of_timm(config: TimmExtractor, device: torch.device, store: Store) -> ImageFeatures:
    model = ModelConfig(family="timm", path=config.path, pretrained=config.pretrained)
    classifier = TimmAdapter().load(resolve_model(model, store).folder, model, device)

    def features(pictures_BHW3: Pictures) -> Vectors:
        inputs = [classifier.preprocess(Image.fromarray(picture)) for picture in pictures_BHW3]
        return classifier.pooled(torch.stack(inputs).to(device)).cpu().numpy()

    return features


def _of_denoiser(config: DenoiserExtractor, seed: int, n_rows: int, store: Store) -> ImageFeatures:
    extractor = FeatureExtractor.load(
        resolve_model(config.model, store),
        config.prompt,
        [config.t],
        [config.block],
        [config.pooling],
        seed,
        n_rows,
    )

    def features(pictures_BHW3: Pictures) -> Vectors:
        size = extractor.image_size
        square = np.stack([to_square(Image.fromarray(each), size) for each in pictures_BHW3])
        (vectors,) = extractor(torch.from_numpy(to_model_range(square))).values()
        return cast(Vectors, vectors.numpy())

    return features
