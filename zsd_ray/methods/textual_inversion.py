"""Learn a token for the image, and take the class whose name is nearest: Startsev & Singh,
Algorithm 6, after textual inversion (Gal et al. 2023).

    class = argmin_k d(v, v_k),   v = argmin L(c(template with the token v))

with L the diffusion loss of the image and its augmentations (descent.py), and v_k the embedding of
class k's name. Both are input embeddings of the text encoder, which is where a token is learned;
v_k is the mean over the tokens of a name. d is the Euclidean distance, or 1 - cosine; or, as in the
paper and its code, the Euclidean distance between the text encoder's outputs of the token alone and
of the name alone. Their code takes the output of a name's first token, and names of one; ours, the
mean over a name's tokens, which is the same there.

The paper leaves open where v starts, which augmentations there are, and when to stop.
- v starts from the mean of v_k over the classes, and is not normalised. So no class is preferred
  by more than its own distance from that mean. Steps take the templates in turn.
- Augmentations are shifts, by up to an eighth of the side, with edges repeated: mirroring and
  turning make other digits and letters. An image has seven of them and itself, encoded once, which
  the rows of its steps take in turn.
- An image ends when the running mean of its losses (each weighs 0.9 of the next) has had no new
  minimum for `patience` steps. The first ten steps have none: their mean is that of few times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch.nn import functional

from zsd_ray.config.algorithms import TextualInversionMethod
from zsd_ray.diffusion import draws
from zsd_ray.methods.descent import Descent, Problem, PullBack, Tensors
from zsd_ray.methods.method import Bound, Sample
from zsd_ray.models.denoiser import PromptEncoder

_SHIFTED = 7
_REACH = 8  # of the side, one in as many
_KEPT = 0.9
_WARM_UP = 10


class Token(Problem):
    """The embedding of one image's token, (D,)."""

    def __init__(
        self,
        sample: Sample,
        draw: int,
        classes: Sequence[int],
        x_0_ACHW: torch.Tensor,
        start_D: torch.Tensor,
        config: TextualInversionMethod,
    ) -> None:
        super().__init__(sample, draw, classes, x_0_ACHW, start_D, config.learning_rate)
        self._patience = config.patience
        self._running: float | None = None
        self._least = math.inf
        self._since = 0
        self._n_losses = 0

    def ended(self, loss: float) -> bool:
        before = loss if self._running is None else self._running
        self._running = _KEPT * before + (1 - _KEPT) * loss
        self._since += 1
        self._n_losses += 1
        if self._running < self._least or self._n_losses <= _WARM_UP:
            self._least, self._since = self._running, 0
        return self._patience is not None and self._since >= self._patience


class TextualInversion(Descent[Token]):
    """Textual inversion as a method.

    Shapes as in descent.py; K classes of the run, D numbers of a token's embedding.
    """

    def __init__(self, bound: Bound, config: TextualInversionMethod) -> None:
        super().__init__(bound, config)
        self._token_config = config

    @cached_property
    def _encoder(self) -> PromptEncoder:
        return self.bound.prompt_encoder()

    @cached_property
    def _names(self) -> torch.Tensor:
        return self._encoder.name_embeddings(self.bound.names)

    @cached_property
    def _outputs(self) -> torch.Tensor:
        return self._encoder.name_outputs(self.bound.names)

    def problem(self, sample: Sample, draw: int, classes: Sequence[int]) -> Token:
        x_0 = sample.x_0[None]
        if self._token_config.augment:
            x_0 = torch.cat([x_0, *self._shifted(sample, draw)])
        start = self._names[list(classes)].mean(dim=0)
        return Token(sample, draw, classes, x_0, start, self._token_config)

    def _shifted(self, sample: Sample, draw: int) -> list[torch.Tensor]:
        """Return x_0 of the shifted images, (1, C, H, W) each."""
        numbers = range(draw * _SHIFTED, (draw + 1) * _SHIFTED)
        unit = draws.uniform(self.bound.seed, sample.image_id, numbers, (2,))
        shifts = shifted(sample.pixels, (2 * unit - 1).tolist())
        # One at a time: in a batch their last bits would depend on the others.
        return [self.bound.denoiser.encode_images(pixels[None]) for pixels in shifts]

    def conditioning(self, problems: Sequence[Token], step: int) -> tuple[Tensors, PullBack]:
        template = self.bound.templates[step % len(self.bound.templates)]
        # Padded, so that the text encoder sees one shape when some have ended.
        padded = [*problems, *[problems[-1]] * (self.at_once - len(problems))]
        learned = torch.stack([problem.learned for problem in padded]).requires_grad_()
        with torch.enable_grad():
            encoded = self._encoder.encode_learned(template, learned)
            rows = {name: of[: len(problems)] for name, of in encoded.items()}

        def pull_back(gradients: Tensors) -> list[torch.Tensor]:
            outputs = [rows[name] for name in gradients]
            (found,) = torch.autograd.grad(outputs, learned, list(gradients.values()))
            return list(found[: len(problems)])

        return {name: of.detach() for name, of in rows.items()}, pull_back

    def scores(self, problem: Token) -> torch.Tensor:
        distance, learned = self._token_config.distance, problem.learned[None]
        names = (self._outputs if distance == "text-encoder" else self._names)[problem.classes]
        if distance == "text-encoder":
            learned = self._encoder.learned_outputs(learned)
        if distance != "cosine":
            return (names - learned).square().sum(dim=1).sqrt()
        cosine: torch.Tensor = functional.cosine_similarity(names, learned, dim=1)
        return 1 - cosine


def shifted(pixels_3SS: torch.Tensor, shares: Sequence[Sequence[float]]) -> list[torch.Tensor]:
    """Return an image moved down and right by shares, in [-1, 1], of an eighth of its side."""
    size = pixels_3SS.shape[-1]
    reach = max(1, size // _REACH)
    wide = functional.pad(pixels_3SS[None], (reach,) * 4, mode="replicate")[0]
    moved = []
    for down, right in shares:
        top, left = reach - round(down * reach), reach - round(right * reach)
        moved.append(wide[:, top : top + size, left : left + size])
    return moved
