"""The dtype of a network if `model.dtype` names none.

It is settled from the configuration alone, once for all workers of a run, so that it does not
depend on the device of a single worker. `auto` is then replaced by a dtype everywhere: in the
identity, in run.json and where the network is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args

from zsd_ray.config.families import FAMILIES

if TYPE_CHECKING:
    from zsd_ray.config.run import ModelConfig

Dtype = Literal["float32", "bfloat16", "float16"]

N_CHECKED = 4
"""Images that a run with model.max_difference checks before it starts."""


class _HasModel(Protocol):
    @property
    def model(self) -> ModelConfig: ...


ConfigT = TypeVar("ConfigT", bound=_HasModel)


def with_dtype(model: ModelConfig, gpus: float, half: bool = True) -> ModelConfig:
    """Return a model with a resolved dtype: `auto` is bfloat16 on GPUs and float32 on CPUs.

    Args:
        gpus: of each worker.
        half: whether half precision is precise enough for the network's use.
    """
    if model.dtype != "auto":
        return model
    on_gpu = model.device.startswith("cuda") or (gpus > 0 and model.device != "cpu")
    # Images of baselines take longer to read than to classify, and a probe runs its model in the
    # dtype that it was fitted in; users' own classes choose for themselves.
    family = FAMILIES[model.family]
    half = half and family.method != "classifier" and family.takes != "either"
    fast = on_gpu and half
    return _unnamed(model, "bfloat16" if fast else "float32")


def as_before(config: ConfigT, parts: Any) -> ConfigT:
    """Resume in the dtype of an output if the configuration names none.

    Args:
        parts: the identity parts recorded in the output; None: nothing yet.
    """
    model = parts.get("model") if isinstance(parts, Mapping) else None
    before: Any = model.get("dtype") if isinstance(model, Mapping) else None
    if before not in get_args(Dtype) or "dtype" in config.model.model_fields_set:
        return config
    update = {"model": _unnamed(config.model, before)}
    copied: ConfigT = config.model_copy(update=update)  # type: ignore[attr-defined]
    return copied


def _unnamed(model: ModelConfig, dtype: Dtype) -> ModelConfig:
    """Return the model with a dtype that still counts as not set by the user."""
    found = model.model_copy(update={"dtype": dtype})
    found.model_fields_set.discard("dtype")
    return found
