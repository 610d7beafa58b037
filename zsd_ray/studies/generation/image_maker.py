"""A model that makes images of a set, part by part.

Image n of a set is of class n modulo their number, and number n // K of that class. The noise that
it starts from, and that of each step, is a function of (seed, class, its number there) alone.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

import numpy as np
import torch

from zsd_ray.diffusion import draws
from zsd_ray.diffusion.sampling import Predict, sample
from zsd_ray.methods.class_rows import batches
from zsd_ray.models.denoiser import Decoder, Denoiser
from zsd_ray.models.latents import to_picture
from zsd_ray.models.library_sampler import LibrarySampler
from zsd_ray.models.registry import resolve_model
from zsd_ray.models.rows import plain_rows, wrapper
from zsd_ray.studies.generation.image_set_plan import PART, ImageSetPlan


class ImageMaker:
    """Does the pieces of an `ImageSetPlan`: numbers of parts."""

    def __init__(self, plan: ImageSetPlan) -> None:
        config, store = plan.config, plan.parts.output.store
        self._plan = plan
        model = resolve_model(config.model, store)
        self._denoiser = cast(Denoiser, model.load())
        device = self._denoiser.device
        guided = config.guidance_scale != 1
        texts = [*plan.prompts, ""] if guided else list(plan.prompts)
        encoded = model.encode_prompts(texts) if texts else {}
        conditioning = {name: torch.from_numpy(rows).to(device) for name, rows in encoded.items()}
        wrap = wrapper(self._denoiser, config.model.compile)
        self._network = plain_rows(self._denoiser, conditioning, wrap)
        assert isinstance(config.cluster.batch_size, int)
        self._rows = min(config.cluster.batch_size, PART, plan.n_images)
        if config.sampler.own:
            self._library = None
        else:
            steps = config.sampler.steps
            self._library = LibrarySampler(model, self._denoiser, config.sampler.name, steps)

    @torch.inference_mode()
    def __call__(self, part: int) -> int:
        """Make and write one part; return how many evaluations it took, without padding."""
        numbers = np.asarray(self._plan.numbers(part))
        pictures = []
        for mine in batches(len(numbers), self._rows):
            x_0 = self._sample(numbers[mine])
            # One at a time, so that none depends on its company.
            decoder = cast(Decoder, self._denoiser)
            pictures += [to_picture(decoder.decode(x[None]))[0] for x in x_0]
        self._plan.parts.write(part, pictures[: len(numbers)], numbers.tolist())
        return len(numbers) * self._evaluations()

    def _evaluations(self) -> int:
        config = self._plan.config
        steps = config.sampler.steps if self._library is None else self._library.n_evaluations
        return steps * (2 if config.guidance_scale != 1 else 1)

    def _sample(self, numbers: Any) -> torch.Tensor:
        config, denoiser = self._plan.config, self._denoiser
        keys = [self._key(number) for number in numbers.tolist()]
        predict = self._predict(numbers)
        noise = self._noise(keys, 0)
        if self._library is not None:
            return self._library.sample(predict, noise, [_seed(config.seed, key) for key in keys])
        return sample(
            predict,
            denoiser.schedule,
            denoiser.parametrisation,
            noise,
            config.sampler.steps,
            eta=config.sampler.noisiness,
            noise=lambda step: self._noise(keys, step + 1),
            clip=denoiser.sample_shape[1] == denoiser.image_size,
        )

    def _predict(self, numbers: Any) -> Predict:
        """The network's output, led to the class (Ho & Salimans 2022, eq. 6, in the convention
        where scale 1 is the class's own): null + scale (own - null)."""
        scale, device = self._plan.config.guidance_scale, self._denoiser.device
        each = torch.arange(len(numbers), device=device)
        prompts = torch.tensor([self._prompt(n) for n in numbers.tolist()], device=device)
        empty = torch.full_like(prompts, len(self._plan.prompts))

        def predict(x_BCHW: torch.Tensor, time_B: torch.Tensor) -> torch.Tensor:
            own = self._network(x_BCHW, time_B, each, prompts)
            if scale == 1:
                return own
            null = self._network(x_BCHW, time_B, each, empty)
            return null + scale * (own - null)

        return predict

    def _prompt(self, number: int) -> int:
        """Its row of the prompts: the templates of a class take turns."""
        n_classes = len(self._plan.parts.classes)
        if not n_classes:
            return 0
        of_class, label = divmod(number, n_classes)
        n_templates = len(self._plan.prompts) // n_classes
        return label * n_templates + of_class % n_templates

    def _key(self, number: int) -> str:
        """What addresses the noise of an image."""
        n_classes = len(self._plan.parts.classes)
        if not n_classes:
            return f"generated/{number}"
        of_class, label = divmod(number, n_classes)
        return f"generated/{label}/{of_class}"

    def _noise(self, keys: list[str], draw: int) -> torch.Tensor:
        shape, numbers = self._denoiser.sample_shape, range(draw, draw + 1)
        rows = [draws.noise(self._plan.config.seed, key, numbers, shape) for key in keys]
        return torch.from_numpy(np.concatenate(rows)).to(self._denoiser.device)


def _seed(seed: int, key: str) -> int:
    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1  # torch takes signed seeds
