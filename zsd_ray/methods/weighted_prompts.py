"""Fit a mixture of the classes' prompts to the image: Startsev & Singh, Algorithm 7.

    class = argmax_k w_k,   w = argmin over the simplex of  L(sum_k w_k c_k)

with L the diffusion loss of one image (descent.py) and c_k the encoding of class k's prompt,
averaged over templates. The score of a class is -w_k.

The paper leaves open what keeps w on the simplex, and when to stop. Ours is the softmax of free
numbers that start at 0, or, on demand, a projection after each step (Duchi et al. 2008, figure 1);
both start from equal weights. An image ends when no weight is further than `tolerance` from where
it was ten steps ago; this is looked at after step 10, 20, and so on.

All floats of a conditioning are mixed. Whole numbers, such as masks, are the largest of any
class's: a token that any of the prompts has is seen.

The averaged encodings are held in float32: 237 MB for 1,000 classes of Stable Diffusion 1.x. The
network is differentiated only in a mixture; the weights' gradients follow from it by one product
with the encodings, so that a mixture of many classes takes no more memory than one of two.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zsd_ray.config.algorithms import WeightedPromptsMethod
from zsd_ray.methods.descent import Descent, Problem, PullBack, Tensors
from zsd_ray.methods.method import Bound, Sample

_LOOK_EVERY = 10


class Mixture(Problem):
    """The weights of one image's classes: what is learned itself, or its softmax."""

    def __init__(
        self,
        sample: Sample,
        draw: int,
        classes: Sequence[int],
        config: WeightedPromptsMethod,
    ) -> None:
        self.projected = config.constraint == "simplex"
        k = len(classes)
        start = torch.full((k,), 1 / k if self.projected else 0.0, device=sample.x_0.device)
        super().__init__(sample, draw, classes, sample.x_0[None], start, config.learning_rate)
        self._tolerance = config.tolerance
        self._before = self.weights

    @property
    def weights(self) -> torch.Tensor:
        """Return a copy of the weights, (k,) float32."""
        return self.learned.clone() if self.projected else self.learned.softmax(dim=0)

    def pull_back(self, gradient: torch.Tensor) -> torch.Tensor:
        """Turn a gradient in the weights into one in the learned parameters."""
        if self.projected:
            return gradient
        weights = self.weights
        return weights * (gradient - weights @ gradient)

    def step(self, gradient: torch.Tensor) -> None:
        super().step(gradient)
        if self.projected:
            self.learned.copy_(onto_simplex(self.learned))

    def ended(self, loss: float) -> bool:
        if self.n_steps % _LOOK_EVERY:
            return False
        before, self._before = self._before, self.weights
        return float((self._before - before).abs().max()) <= self._tolerance


class WeightedPrompts(Descent[Mixture]):
    """Weighted prompts as a method; shapes as in descent.py; K classes of the run."""

    def __init__(self, bound: Bound, config: WeightedPromptsMethod) -> None:
        super().__init__(bound, config)
        self._mixture_config = config
        n_templates, n_classes = len(bound.templates), len(bound.names)
        self._floats: dict[str, torch.Tensor] = {}
        self._whole: dict[str, torch.Tensor] = {}
        for name, of in bound.conditioning.items():
            by_template = of.view(n_classes, n_templates, *of.shape[1:])
            if of.is_floating_point():
                self._floats[name] = by_template.mean(dim=1, dtype=torch.float32)
            else:
                self._whole[name] = by_template.amax(dim=1)

    def problem(self, sample: Sample, draw: int, classes: Sequence[int]) -> Mixture:
        return Mixture(sample, draw, classes, self._mixture_config)

    def conditioning(self, problems: Sequence[Mixture], step: int) -> tuple[Tensors, PullBack]:
        # Problem by problem: products of one shape, independent of the other problems.
        mixed = {
            name: torch.stack([self._mix(of, problem) for problem in problems])
            for name, of in self._floats.items()
        }
        for name, of in self._whole.items():
            mixed[name] = torch.stack([of[problem.classes].amax(dim=0) for problem in problems])

        def pull_back(gradients: Tensors) -> list[torch.Tensor]:
            found = []
            for number, problem in enumerate(problems):
                in_weights = torch.zeros(len(self.bound.names), device=problem.learned.device)
                for name, gradient in gradients.items():
                    in_weights += self._floats[name].flatten(1) @ gradient[number].flatten()
                found.append(problem.pull_back(in_weights[problem.classes]))
            return found

        return mixed, pull_back

    def _mix(self, of_KD: torch.Tensor, problem: Mixture) -> torch.Tensor:
        """Return the weighted sum of classes' rows of any shape."""
        # Weights of 0 for classes that the problem leaves out are cheaper than a copy of the rest.
        weights = torch.zeros(len(of_KD), device=of_KD.device)
        weights[problem.classes] = problem.weights
        return (weights @ of_KD.flatten(1)).view(of_KD.shape[1:])

    def scores(self, problem: Mixture) -> torch.Tensor:
        return -problem.weights


def onto_simplex(v_k: torch.Tensor) -> torch.Tensor:
    """Return the nearest point of the simplex {w: w >= 0, sum w = 1}, (k,); float64 inside."""
    v = v_k.double()
    sorted_ = v.sort(descending=True).values
    excess = sorted_.cumsum(dim=0) - 1
    counts = torch.arange(1, len(v) + 1, device=v.device)
    # The largest numbers that stay above 0 when all of them are lowered to sum to 1.
    rho = (sorted_ * counts > excess).nonzero().max()
    return (v - excess[rho] / counts[rho]).clamp(min=0).to(v_k)
