"""The one way to find, check and load a model, whichever its family."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from zsd_ray.config.families import FAMILIES
from zsd_ray.config.family import Family
from zsd_ray.config.method_section import Method
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import EncoderAdapter, adapter_of, files_of
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.storage.store import Store

if TYPE_CHECKING:  # torch takes seconds to import, and a check does not need it
    import torch

    from zsd_ray.diffusion.schedule import Schedule
    from zsd_ray.models.denoiser import Classifier, Conditioning, Denoiser, PromptEncoder


_SOME_TAKE = (
    "image_size",
    "labels",
    "kwargs",
    "pretrained",
    "max_prompt_tokens",
    "revision",
    "variant",
    "pickle",
)
"""Keys of ModelConfig that only some families take."""


def resolve_model(config: ModelConfig, store: Store | None = None) -> ResolvedModel:
    """Find the model's files and check that they are whole and of its family; loads nothing.

    The files found are local. A store is listed, and its new files are fetched.

    Args:
        store: how a URL is reached; None: by a plain `Store()`.

    Raises:
        UserError: what is missing or does not fit, in one line.
    """
    family, store = FAMILIES[config.family], store or Store()
    for key in _SOME_TAKE:
        default = ModelConfig.model_fields[key].default
        if key not in family.all_keys and getattr(config, key) != default:
            raise UserError(f"model.{key} is of no use to model.family {config.family}; remove it")
    return ResolvedModel(config, files_of(family).check(config, store), family, store)


@dataclass(frozen=True)
class ResolvedModel:
    """A model whose files are here and checked.

    folder: what the family's `ModelFiles.check` found on this machine; store: how it was reached.
    """

    config: ModelConfig
    folder: Path
    family: Family
    store: Store

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash of the content of the model's files."""
        return files_of(self.family).fingerprint(self.folder, self.config, self.store)

    @property
    def hashed(self) -> list[str]:
        """Describe what `fingerprint` reads if that is less than a user may expect; none: all
        files."""
        return files_of(self.family).hashed(self.folder, self.config)

    def label_numbers(self, prompts: Sequence[str]) -> list[int]:
        """Return the model's own label of each prompt; none if it reads text.

        Raises:
            UserError: it has no such labels.
        """
        return files_of(self.family).label_numbers(self.folder, self.config, prompts)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Check that the model accepts these prompts as classes; loads no weights.

        Raises:
            UserError: it cannot.
        """
        self.label_numbers(prompts)

    def check_null_prompt(
        self, wanted: str = "method.normaliser null-prompt", instead: str = "none"
    ) -> None:
        """Check that an empty prompt can leave the model without a class.

        Args:
            wanted: the setting that needs it; instead: the value of it that does not.

        Raises:
            UserError: it cannot.
        """
        if not files_of(self.family).takes_null_prompt(self.folder, self.config):
            raise UserError(
                f"{wanted} needs a model that can work without a class, and this one of "
                f"model.family {self.config.family} is always conditioned on a label; "
                f"set {wanted.split()[0]}: {instead}"
            )

    def check_abilities(self, method: Method) -> None:
        """Check that the model's family has the capabilities that a method needs.

        Raises:
            UserError: what is missing, and which families have it.
        """
        missing = sorted(method.needs - set(self.family.abilities))
        if missing:
            able = [
                name for name, other in FAMILIES.items() if method.needs <= set(other.abilities)
            ]
            what = " and ".join(_ABILITIES[ability] for ability in missing)
            raise UserError(
                f"method.name {method.name} needs a model that can {what}, and model.family "
                f"{self.config.family} cannot; those that can: {', '.join(able) or 'none'}"
            )

    def schedule(self) -> Schedule | None:
        """Return the model's noise schedule, from its configuration; imports the model's library.

        None: it is known only once the model is loaded, as for a user's own class, or there is
            none.
        """
        if not self.family.is_pipeline:
            return None
        from zsd_ray.models.schedules import folder_schedule

        return folder_schedule(self.folder)[0]

    def load(self) -> Denoiser | Classifier:
        """Load the model on its device and in its dtype.

        Raises:
            UserError: it does not fit its family, or its device is missing.
        """
        import torch

        from zsd_ray.models.files.loading import loading
        from zsd_ray.models.schedule_check import check_schedule

        # cuDNN's default rounds float32 to 10 bits, in VAEs and wherever float32 was asked for.
        torch.backends.cudnn.allow_tf32 = False
        device = device_of(self.config)
        _say_slow(device, self.config)
        where = f"model.path {redact(self.config.path)}"
        with loading(where):
            model = adapter_of(self.family).load(self.folder, self.config, device)
            if self.family.method == "classifier":
                from zsd_ray.models.classifier_trial import try_classifier

                try_classifier(cast("Classifier", model), where)
            else:
                denoiser = cast("Denoiser", model)
                check_schedule(where, denoiser.schedule, denoiser.parametrisation)
        return model

    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Load the prompt encoder, encode the prompts, and free it.

        Raises:
            UserError: as `load`.
        """
        from zsd_ray.models.files.loading import loading

        device = device_of(self.config)
        with loading(self._reader):
            adapter = adapter_of(self.family)
            conditioning = adapter.encode_prompts(self.folder, self.config, prompts, device)
        if device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
        return conditioning

    def load_prompt_encoder(self) -> PromptEncoder:
        """Load the prompt encoder, to keep it; only for a family with the capability "tokens"."""
        from zsd_ray.models.files.loading import loading

        device, adapter = device_of(self.config), adapter_of(self.family)
        assert isinstance(adapter, EncoderAdapter)
        with loading(self._reader):
            return adapter.load_prompt_encoder(self.folder, self.config, device)

    @property
    def _reader(self) -> str:
        return f"the part of model.path {redact(self.config.path)} that reads prompts"


_ABILITIES = {
    "prompts": "be conditioned on mixtures of prompts",
    "decode": "map its x back to an image",
    "attention": "show what it attends to",
    "tokens": "read tokens that are no words",
    "features": "show what its blocks make of an image",
}


def _say_slow(device: torch.device, config: ModelConfig) -> None:
    """Warn of a GPU that only emulates bfloat16."""
    import torch

    if device.type != "cuda" or config.dtype != "bfloat16":
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        warnings.warn(
            f"{torch.cuda.get_device_name(device)} has no bfloat16 of its own, which is slow there;"
            " model.dtype: float16 is faster",
            stacklevel=2,
        )


def device_of(config: ModelConfig) -> torch.device:
    """Return the device of `model.device` on this machine; raises UserError if there is none."""
    import torch

    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"model.device {name}: torch sees no CUDA device; set auto or cpu")
    return torch.device(name)
