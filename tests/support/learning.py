"""A denoiser and an encoder of prompts in which what is learned best is known."""

from __future__ import annotations

import numpy as np
import torch

from tests.support.gaussian_denoiser import SCHEDULES, SHAPE, GaussianDenoiser, class_means
from zsd_ray.methods.method import Bound, Sample, Unit
from zsd_ray.models.rows import plain_rows

N_CLASSES, D, SEED = 4, 6, 5
TEMPLATES = ["one {}", "another {}"]


class LinearEncoder:
    """A `PromptEncoder` in which a prompt's encoding is a linear map of its name's embedding, and
    half of it in the second template."""

    device = torch.device("cpu")

    def __init__(self):
        generator = torch.Generator().manual_seed(8)
        self.embeddings = torch.randn(N_CLASSES, D, generator=generator)
        self.map = torch.randn(D, int(np.prod(SHAPE)), generator=generator) / D**0.5
        self.n_learned = []

    def name_embeddings(self, names):
        return self.embeddings[[int(name.split()[1]) for name in names]]

    def encode_learned(self, template, embedding_BD):
        self.n_learned.append(len(embedding_BD))
        scale = 0.5 if template == TEMPLATES[1] else 1.0
        return {"mean": (scale * embedding_BD @ self.map).view(-1, *SHAPE)}


def bound_of(rows=12, denoiser=None, templates=TEMPLATES):
    denoiser = denoiser or GaussianDenoiser(SCHEDULES["vp"])
    means = class_means(N_CLASSES * len(templates))
    encoder = LinearEncoder()
    return Bound(
        denoiser=denoiser,
        conditioning={"mean": means},
        names=[f"class {k}" for k in range(N_CLASSES)],
        templates=templates,
        network=plain_rows(denoiser, {"mean": means}),
        rows=rows,
        seed=SEED,
        prompt_encoder=lambda: encoder,
    )


def unit(number, classes=(0, 1, 2, 3), n_draws=1):
    generator = torch.Generator().manual_seed(number)
    x_0 = torch.randn(SHAPE, generator=generator)
    return Unit(Sample(f"image-{number}", x_0, torch.zeros(3, 4, 4)), range(n_draws), classes)


def slow_projection(v):
    """The nearest point of the simplex, by bisection of what all numbers are lowered by."""
    low, high = float(v.min()) - 1, float(v.max())
    for _ in range(200):
        middle = (low + high) / 2
        if float((v.double() - middle).clamp(min=0).sum()) > 1:
            low = middle
        else:
            high = middle
    return (v.double() - low).clamp(min=0).to(v)
