"""The base of every `method` section: the cost of its scores, and their requirements of a model."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from zsd_ray.records.cost import Cost, RunSize
from zsd_ray.settings.section import Section

Capability = Literal["prompts", "decode", "attention", "tokens", "features"]
"""What a model can do beyond denoising for a class: be conditioned on mixtures of prompts'
encodings, map x back to an image, show its attention to a prompt's tokens, learn a token, and show
what its blocks make of an image."""


class Method(Section):
    """A `method` section: the keys of one method, discriminated by `name`.

    Attributes:
        implementation: "module:Class" of methods/method.py's `Method`.
        of_classifier: it scores with a classifier; else with a denoiser.
        weighted: a score is a weighted error of a draw, so that saved scores can be reweighted, a
            class offset measured, and the fast path compared with float32.
        whole: all classes of a draw are scored together, by one worker.
        random: draws differ; if they do not, there is one.
        counted: the cost of a score is only known afterwards; `cost` is then an upper bound or an
            estimate, and rows hold the counted evaluations.
    """

    implementation: ClassVar[str]
    of_classifier: ClassVar[bool] = False
    weighted: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    random: ClassVar[bool] = True
    counted: ClassVar[bool] = False

    name: str

    @property
    def null_prompt(self) -> bool:
        """Whether the empty prompt is also encoded."""
        return False

    @property
    def null_key(self) -> tuple[str, str]:
        """Return the key that needs the empty prompt, and its value that does not."""
        return "method.normaliser null-prompt", "none"

    @property
    def needs(self) -> frozenset[Capability]:
        """Return the capabilities that the model needs."""
        return frozenset()

    @abstractmethod
    def cost(self, size: RunSize) -> Cost:
        """Return the cost of its scores, before anything is scored."""

    @abstractmethod
    def evaluations_per_batch(self, rows: int, size: RunSize) -> int:
        """Return the evaluations that fill a forward of so many rows, with all forwards that follow
        it."""
