"""A model of digits that is ready in a second: for tests of what surrounds a model, as on clusters.

Each digit is a Gaussian around its mean image, of which the best denoiser is known. Importing the
libraries of the built-in model takes a worker ten seconds of a core.
"""

import importlib.util
import time
from pathlib import Path

import numpy as np
import torch

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


class DigitMeans(torch.nn.Module):
    """A prompt stands for the mean image of the digits that it names, or of all if it names none.

    delay: seconds that each forward takes at least, so that a run lasts on any machine.
    """

    parametrisation = "sample"
    image_size = 8
    sample_shape = (1, 8, 8)

    def __init__(self, delay=0.0, spread=0.5):
        super().__init__()
        self.register_buffer("means", torch.from_numpy(_means()))
        self.register_buffer(
            "alphas_cumprod", torch.linspace(0.9999, 0.0001, 1000, dtype=torch.float64)
        )
        self.delay = delay
        self.spread = spread

    def encode_prompts(self, prompts):
        named = [[float(name in prompt) for name in NAMES] for prompt in prompts]
        shares = torch.tensor([row if any(row) else [1.0] * len(row) for row in named])
        return {"shares": shares / shares.sum(1, keepdim=True)}

    def forward(self, x, step, condition):
        time.sleep(self.delay)
        mean = torch.einsum("bk,kchw->bchw", condition["shares"], self.means)
        kept = self.alphas_cumprod[step.long(), None, None, None].float()
        gain = kept.sqrt() * self.spread**2 / (kept * self.spread**2 + 1 - kept)
        return mean + gain * (x - kept.sqrt() * mean)


def _means():
    """(10, 1, 8, 8) float32 in [-1, 1], of all digits; scikit-learn itself is not imported."""
    (package,) = importlib.util.find_spec("sklearn").submodule_search_locations
    table = np.loadtxt(Path(package, "datasets/data/digits.csv.gz"), delimiter=",")
    images, labels = table[:, :-1] / 8 - 1, table[:, -1]
    means = [images[labels == digit].mean(axis=0) for digit in range(10)]
    return np.stack(means).reshape(10, 1, 8, 8).astype(np.float32)
