"""Common code of denoisers with one network, over a VAE's latents or over pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import Parametrisation
from zsd_ray.diffusion.schedule import Schedule
from zsd_ray.models.features.block_features import block_features
from zsd_ray.models.files.components import load_network, network_dtype
from zsd_ray.models.latents import Autoencoder, in_pixels, in_three_channels
from zsd_ray.models.schedules import folder_schedule


class NetworkDenoiser(ABC):
    """A `Denoiser` over a network of diffusers', whose blocks show their features.

    Attributes:
        network_class: its name in diffusers; component: the subfolder that holds it.
        schedule, parametrisation, image_size, sample_shape, device: as in `Denoiser`.
    """

    network_class: ClassVar[str]
    component: ClassVar[str]

    def __init__(
        self,
        network: Any,
        image_size: int,
        sample_shape: tuple[int, int, int],
        folder: Path,
        device: torch.device,
    ) -> None:
        self._network = network.to(device)
        self.image_size = image_size
        self.sample_shape = sample_shape
        self.device = device
        self.schedule, self.parametrisation = self._process(folder)

    @classmethod
    def load_network(cls, folder: Path, config: ModelConfig) -> Any:
        """Load the network of a checked pipeline folder, in the dtype that `config` names."""
        where = folder / cls.component
        return load_network(cls.network_class, where, config, network_dtype(config))

    def _process(self, folder: Path) -> tuple[Schedule, Parametrisation]:
        """Return the schedule and parametrisation of the folder's scheduler; a family may override
        it."""
        return folder_schedule(folder)

    @abstractmethod
    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """Predict; see `Denoiser.predict`."""

    def features(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return block outputs; see `ShowsFeatures.features`."""
        with block_features(self._network) as found:
            self.predict(x_BCHW, time_B, conditioning)
        return found


class LatentDenoiser(NetworkDenoiser):
    """A `Denoiser` over the latents of a VAE."""

    def __init__(
        self,
        network: Any,
        vae: Autoencoder,
        folder: Path,
        config: ModelConfig,
        device: torch.device,
    ) -> None:
        image_size = config.image_size or self._latent_side(network.config) * vae.downsampling
        shape = vae.sample_shape(image_size, self._patch_size(network.config))
        super().__init__(network, image_size, shape, folder, device)
        self._vae = vae

    @classmethod
    def load(cls, folder: Path, config: ModelConfig, device: torch.device) -> Self:
        """Load a checked pipeline folder (see `registry.resolve_model`)."""
        network = cls.load_network(folder, config)
        return cls(network, Autoencoder.load(folder, config, device), folder, config, device)

    def _latent_side(self, settings: Any) -> int:
        """Return the height and width of the latents that the network was made for."""
        return int(settings.sample_size)

    def _patch_size(self, settings: Any) -> int:
        """Return the latents along a side of a patch; image sides must be whole numbers of
        patches."""
        return 1

    @torch.inference_mode()
    def encode_images(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Return the means of the VAE's posteriors; see `Denoiser.encode_images`."""
        return self._vae.encode(images_B3HW)

    def decode(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Decode with the VAE; see `Decoder.decode`."""
        return self._vae.decode(x_BCHW)


class PixelDenoiser(NetworkDenoiser):
    """A `Denoiser` over an image's own pixels, of one channel (its luma) or of three."""

    @torch.inference_mode()
    def encode_images(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Return the image itself, or its luma for a model of one channel."""
        return in_pixels(images_B3HW.to(self.device), self.sample_shape[0])

    def decode(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the image itself, grey for a model of one channel."""
        return in_three_channels(x_BCHW)
