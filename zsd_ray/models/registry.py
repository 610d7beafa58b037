"""The one way to check and to load a model, whichever its family."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zsd_ray.config.families import FAMILIES
from zsd_ray.config.method import Method
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files import pipeline_folder, source
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.storage.store import Store

if TYPE_CHECKING:  # torch takes seconds to import, and a check does not need it
    import torch

    from zsd_ray.diffusion.schedule import Schedule
    from zsd_ray.models.denoiser import Classifier, Conditioning, Denoiser, PromptEncoder


_OWN_KEYS = ("image_size", "labels", "kwargs", "pretrained", "max_prompt_tokens")
"""Keys of ModelConfig that only some families take."""
_FOLDER_KEYS = ("revision", "variant", "pickle")
"""Keys that say which files of a pipeline folder to read."""


def check_model(config: ModelConfig, store: Store | None = None) -> Path:
    """Find the model's files and check that they are whole and of its family; loads nothing.

    Args:
        store: how a URL is reached, here and below; None: as a plain `Store()` says.

    Raises:
        UserError: what is missing or does not fit, in one line.
    """
    family, store = FAMILIES[config.family], store or Store()
    for key in (*_OWN_KEYS, *(_FOLDER_KEYS if family.checks else ())):
        if key not in family.keys and getattr(config, key) != ModelConfig.model_fields[key].default:
            raise UserError(f"model.{key} is of no use to model.family {config.family}; remove it")
    if family.checks:
        return cast(Path, import_module(family.checks).check(config, store))
    folder = source.resolve(config, (*family.components, *family.optional), store)
    pipeline_folder.check(folder, family, config)
    return folder


def check_prompts(config: ModelConfig, prompts: Sequence[str], store: Store | None = None) -> None:
    """Check that a checked model can tell classes by these prompts; loads no weights.

    Raises:
        UserError: it cannot.
    """
    family = FAMILIES[config.family]
    if family.takes == "labels" and family.checks:
        import_module(family.checks).check_prompts(config, prompts, store or Store())
    elif family.takes == "labels":
        from zsd_ray.models.conditioning.labels import label_numbers

        label_numbers(check_model(config, store), config, prompts)
    elif family.takes == "either":
        from zsd_ray.models.files import custom_class

        custom_class.check_prompts(config, prompts)


def label_numbers(config: ModelConfig, prompts: Sequence[str], store: Store) -> list[int]:
    """Which of a checked model's own labels these prompts mean; none where it reads text.

    Raises:
        UserError: it has no such labels.
    """
    family = FAMILIES[config.family]
    if family.takes == "either":
        from zsd_ray.models.files import custom_class

        return custom_class.label_numbers(config, prompts)
    if family.takes == "text":
        return []
    names = import_module(family.checks or "zsd_ray.models.conditioning.labels")
    numbers = names.label_numbers(check_model(config, store), config, prompts)
    return sorted({number for number in numbers.ravel().tolist() if number >= 0})


def check_null_prompt(
    config: ModelConfig,
    store: Store,
    wanted: str = "method.normaliser null-prompt",
    instead: str = "none",
) -> None:
    """Check that a checked model can be told no class at all, by an empty prompt.

    Args:
        wanted: the setting that wants it; instead: the value of it that does not.

    Raises:
        UserError: it cannot.
    """
    family = FAMILIES[config.family]
    knows = family.takes == "text"
    if family.takes == "labels" and not family.checks:
        from zsd_ray.models.conditioning.labels import null_label

        knows = null_label(check_model(config, store), config) is not None
    elif family.takes == "either":
        from zsd_ray.models.files import custom_class

        knows = custom_class.takes_text(config)
    if not knows:
        raise UserError(
            f"{wanted} needs a model that can be told no class, and this one of model.family "
            f"{config.family} is always told a label; set {wanted.split()[0]}: {instead}"
        )


def fingerprint(config: ModelConfig, store: Store | None = None) -> str:
    """Hash the content of the model's files."""
    checks = FAMILIES[config.family].checks
    if checks:
        return cast(str, import_module(checks).fingerprint(config, store or Store()))
    return source.fingerprint(check_model(config, store))


def hashed(config: ModelConfig) -> list[str]:
    """What `fingerprint` reads, where a user may think it is more; none: all of the model's files.

    Raises:
        UserError: there is no such model.
    """
    if FAMILIES[config.family].takes != "either":
        return []
    from zsd_ray.models.files import custom_class

    return custom_class.hashed(config)


def schedule(config: ModelConfig, store: Store) -> Schedule | None:
    """The noise schedule of a checked model, from its configuration; imports the model's library.

    None: it is known once the model is loaded, as for a class of the user's own, or there is none.
    """
    if FAMILIES[config.family].checks:
        return None
    from zsd_ray.models.schedules import folder_schedule

    return folder_schedule(check_model(config, store))[0]


def load_model(config: ModelConfig, store: Store | None = None) -> Denoiser | Classifier:
    """Load the model that `config` names, on its device and in its dtype.

    Raises:
        UserError: it does not fit its family, or its device is not there.
    """
    folder = check_model(config, store)
    import torch

    from zsd_ray.models.files.loading import loading
    from zsd_ray.models.schedule_check import check_schedule

    # cuDNN's default rounds float32 to 10 bits, in VAEs and wherever float32 was asked for.
    torch.backends.cudnn.allow_tf32 = False
    device = device_of(config)
    _say_slow(device, config)
    where = f"model.path {redact(config.path)}"
    with loading(where):
        model: Denoiser | Classifier = _module(config).load(folder, config, device)
        if FAMILIES[config.family].method == "classifier":
            from zsd_ray.models.classifier_trial import try_classifier

            try_classifier(cast("Classifier", model), where)
        else:
            denoiser = cast("Denoiser", model)
            check_schedule(where, denoiser.schedule, denoiser.parametrisation)
    return model


def _say_slow(device: torch.device, config: ModelConfig) -> None:
    """Warn of a GPU that only imitates bfloat16."""
    import torch

    if device.type != "cuda" or config.dtype != "bfloat16":
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        warnings.warn(
            f"{torch.cuda.get_device_name(device)} has no bfloat16 of its own, which is slow there;"
            " model.dtype: float16 is faster",
            stacklevel=2,
        )


def encode_prompts(
    config: ModelConfig, prompts: Sequence[str], store: Store | None = None
) -> Conditioning:
    """Load what encodes prompts, encode them, and free it.

    Raises:
        UserError: as `load_model`.
    """
    from zsd_ray.models.files.loading import loading

    folder, device = check_model(config, store), device_of(config)
    with loading(f"the part of model.path {redact(config.path)} that reads prompts"):
        conditioning: Conditioning = _module(config).encode_prompts(folder, config, prompts, device)
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
    return conditioning


def load_prompt_encoder(config: ModelConfig, store: Store) -> PromptEncoder:
    """Load what encodes prompts, to keep it; only for a family with the ability "tokens"."""
    from zsd_ray.models.files.loading import loading

    folder, device = check_model(config, store), device_of(config)
    with loading(f"the part of model.path {redact(config.path)} that reads prompts"):
        encoder: PromptEncoder = _module(config).load_prompt_encoder(folder, config, device)
    return encoder


def check_abilities(config: ModelConfig, method: Method) -> None:
    """Check that a model's family can do what a method needs.

    Raises:
        UserError: what is missing, and which families have it.
    """
    family = FAMILIES[config.family]
    missing = sorted(method.needs - set(family.abilities))
    if missing:
        able = [name for name, other in FAMILIES.items() if method.needs <= set(other.abilities)]
        what = " and ".join(_ABILITIES[ability] for ability in missing)
        raise UserError(
            f"method.name {method.name} needs a model that can {what}, and model.family "
            f"{config.family} cannot; those that can: {', '.join(able) or 'none'}"
        )


_ABILITIES = {
    "prompts": "be told classes by mixtures of prompts",
    "decode": "map its x back to an image",
    "attention": "show what it attends to",
    "tokens": "read tokens that are no words",
    "features": "show what its blocks make of an image",
}


def _module(config: ModelConfig) -> Any:
    return import_module(FAMILIES[config.family].module)


def device_of(config: ModelConfig) -> torch.device:
    """The device that `model.device` means here; raises UserError where there is none."""
    import torch

    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"model.device {name}: torch sees no CUDA device; set auto or cpu")
    return torch.device(name)
