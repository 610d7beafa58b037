"""The interfaces of a model family: finding, hashing and loading its files.

Each family of config/families.py names one class of each kind, constructed without arguments and
stateless. Only loading imports torch.
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
        """Load the network and the image encoder, but no text encoder."""

    @abstractmethod
    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Load the prompt encoder, encode the prompts, and free it: one row per prompt in each
        array."""


@runtime_checkable
class EncoderAdapter(Adapter, Protocol):
    """An adapter of a family with the capability "tokens"."""

    @abstractmethod
    def load_prompt_encoder(
        self, folder: Path, config: ModelConfig, device: torch.device
    ) -> PromptEncoder:
        """Load the prompt encoder, to keep it."""


@runtime_checkable
class ModelFiles(Protocol):
    """Finds, checks and hashes the files of a family's models.

    The defaults are those of a model that accepts any text.
    """

    @abstractmethod
    def check(self, config: ModelConfig, store: Store) -> Path:
        """Find the model's files, and check that they are whole and of the family.

        Args:
            store: how a URL is reached.

        Returns:
            Their folder, or the one file; passed to the other methods and the adapter.

        Raises:
            UserError: what is missing or does not fit, in one line.
        """

    @abstractmethod
    def fingerprint(self, folder: Path, config: ModelConfig, store: Store) -> str:
        """Hash the content of checked files."""

    def label_numbers(self, folder: Path, config: ModelConfig, prompts: Sequence[str]) -> list[int]:
        """Return the model's own label of each prompt; none if it reads text.

        Raises:
            UserError: it has no such labels.
        """
        return []

    def takes_null_prompt(self, folder: Path, config: ModelConfig) -> bool:
        """Whether an empty prompt can leave the model without a class."""
        return True

    def hashed(self, folder: Path, config: ModelConfig) -> list[str]:
        """Describe what `fingerprint` reads if that is less than a user may expect; none: all
        files."""
        return []


def adapter_of(family: Family) -> Adapter:
    """Make the adapter that a family names; raises UserError if it cannot be imported."""
    found: Adapter = _made(family.adapter, Adapter)
    return found


def files_of(family: Family) -> ModelFiles:
    """Make the `ModelFiles` of a family; raises UserError if it cannot be imported."""
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
