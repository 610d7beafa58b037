"""What a family of models is: how its files are found and hashed, and how they are loaded.

Each family of config/families.py names a class of either kind, which is made without arguments and
keeps nothing. Only loading imports torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from zsd_ray.records.errors import UserError, last_line
from zsd_ray.storage.store import Store

if TYPE_CHECKING:  # torch takes seconds to import, and other packages' families import this
    import torch

    from zsd_ray.config.family import Family
    from zsd_ray.config.run import ModelConfig
    from zsd_ray.models.denoiser import Classifier, Conditioning, Denoiser, PromptEncoder


@runtime_checkable
class Adapter(Protocol):
    """Brings a library's models behind the convention of models/denoiser.py.

    `folder` is what the family's `ModelFiles.check` returned.
    """

    @abstractmethod
    def load(
        self, folder: Path, config: ModelConfig, device: torch.device
    ) -> Denoiser | Classifier:
        """Load the network and what encodes images, and no text encoder."""

    @abstractmethod
    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Load what encodes prompts, encode them, and free it: one row a prompt in each array."""


@runtime_checkable
class EncoderAdapter(Adapter, Protocol):
    """An adapter of a family with the ability "tokens"."""

    @abstractmethod
    def load_prompt_encoder(
        self, folder: Path, config: ModelConfig, device: torch.device
    ) -> PromptEncoder:
        """Load what encodes prompts, to keep it."""


@runtime_checkable
class ModelFiles(Protocol):
    """Finds, checks and hashes the files of a family's models.

    What a family does not define is as for a model that reads any text.
    """

    @abstractmethod
    def check(self, config: ModelConfig, store: Store) -> Path:
        """Find the model's files, and check that they are whole and of the family.

        Args:
            store: how a URL is reached.

        Returns:
            Their folder, or the one file; what the other methods and the adapter are given.

        Raises:
            UserError: what is missing or does not fit, in one line.
        """

    @abstractmethod
    def fingerprint(self, folder: Path, config: ModelConfig, store: Store) -> str:
        """Hash the content of checked files."""

    def label_numbers(self, folder: Path, config: ModelConfig, prompts: Sequence[str]) -> list[int]:
        """Which of the model's own labels these prompts mean; none where it reads text.

        Raises:
            UserError: it has no such labels.
        """
        return []

    def takes_null_prompt(self, folder: Path, config: ModelConfig) -> bool:
        """Whether the model can be told no class at all, by an empty prompt."""
        return True

    def hashed(self, folder: Path, config: ModelConfig) -> list[str]:
        """What `fingerprint` reads, where a user may think it is more; none: all of the files."""
        return []


def adapter_of(family: Family) -> Adapter:
    """Make the adapter that a family names; raises UserError where it cannot be had."""
    found: Adapter = _made(family.adapter, Adapter)
    return found


def files_of(family: Family) -> ModelFiles:
    """Make what finds a family's files; raises UserError where it cannot be had."""
    found: ModelFiles = _made(family.files, ModelFiles)
    return found


def _made(path: str, kind: type[Any]) -> Any:
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)()
    except Exception as error:  # whatever a module of another package does
        raise UserError(f"{path}, which a family of models names: {last_line(error)}") from error
    if not isinstance(found, kind):
        wanted = ", ".join(sorted(kind.__abstractmethods__))
        raise UserError(f"{path}, which a family of models names, needs the methods {wanted}")
    return found
