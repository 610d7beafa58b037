"""A user's own torch module, behind the convention (docs/how-to/custom-models.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import Parametrisation
from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule, Schedule
from zsd_ray.models.adapter import Adapter
from zsd_ray.models.conditioning.labels import match
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.files import custom_class
from zsd_ray.models.files.components import as_rows, chunks, network_dtype, placed
from zsd_ray.models.latents import in_pixels
from zsd_ray.models.schedule_check import check_schedule
from zsd_ray.records.errors import UserError, last_line

_LABELS = "labels"
"""The name that label numbers have in a conditioning."""


class Custom:
    """A `Denoiser` over a user's module.

    The module keeps its own weights' dtype, and `model.dtype` is that of torch.autocast around its
    `forward`: a user's module may need its time in float32, or hold a VAE.
    """

    def __init__(self, module: Any, config: ModelConfig, device: torch.device) -> None:
        self._where = f"model.path {config.path}"
        if not isinstance(module, torch.nn.Module):
            raise UserError(f"{self._where} is no torch.nn.Module")
        wanted = ["parametrisation", "image_size", "sample_shape"]
        if missing := [name for name in wanted if not hasattr(module, name)]:
            raise UserError(
                f"{self._where} lacks {', '.join(missing)}: see docs/how-to/custom-models.md"
            )
        if module.parametrisation not in get_args(Parametrisation):
            raise UserError(
                f"{self._where}: parametrisation came {module.parametrisation!r}; allowed: "
                f"{', '.join(get_args(Parametrisation))}"
            )
        self._labelled = _labels(module, config) is not None
        self.parametrisation = cast(Parametrisation, module.parametrisation)
        self.image_size = int(cast(Any, module.image_size))
        self.sample_shape = self._shape(module.sample_shape)
        if not hasattr(module, "encode_images") and self.sample_shape not in (
            (1, self.image_size, self.image_size),
            (3, self.image_size, self.image_size),
        ):
            raise UserError(
                f"{self._where} lacks encode_images: without it sample_shape {self.sample_shape} "
                f"must be (1 or 3, {self.image_size}, {self.image_size}), the image's own pixels"
            )
        self.schedule = self._schedule(module)
        self.device = device
        self._dtype = network_dtype(config)
        self._module: Any = module.eval().requires_grad_(False).to(device)
        self._try(config)

    @torch.inference_mode()
    def encode_images(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        images = images_B3HW.to(self.device)
        if not hasattr(self._module, "encode_images"):
            return in_pixels(images, self.sample_shape[0])
        return cast(torch.Tensor, self._module.encode_images(images).float())

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        condition: Any = {
            name: rows.float() if rows.is_floating_point() else rows
            for name, rows in conditioning.items()
        }
        if self._labelled:
            condition = condition[_LABELS]
        lower = self._dtype is not torch.float32
        with torch.autocast(self.device.type, self._dtype if lower else None, enabled=lower):
            return cast(torch.Tensor, self._module(x_BCHW, time_B, condition).float())

    def _shape(self, shape: Any) -> tuple[int, int, int]:
        if not isinstance(shape, list | tuple) or len(shape) != 3:
            raise UserError(f"{self._where}: sample_shape came {shape!r}; it is (C, H, W)")
        return (int(shape[0]), int(shape[1]), int(shape[2]))

    def _schedule(self, module: Any) -> Schedule:
        if getattr(module, "schedule", None) is not None:
            schedule: Schedule = module.schedule
        elif getattr(module, "alphas_cumprod", None) is not None:
            alphas = torch.as_tensor(module.alphas_cumprod).double().cpu().numpy()
            schedule = DiscreteSchedule(alphas)
        elif self.parametrisation == "flow":
            schedule = FlowSchedule(1.0)
        else:
            raise UserError(
                f"{self._where} lacks schedule or alphas_cumprod, which parametrisation "
                f"{self.parametrisation} needs"
            )
        check_schedule(self._where, schedule, self.parametrisation)
        return schedule

    def _try(self, config: ModelConfig) -> None:
        """Run everything once on two rows, so that a mistake is reported here, in one line."""
        step = "encode_images"
        try:
            x = self.encode_images(torch.zeros(2, 3, self.image_size, self.image_size))
            self._expect(step, x)
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
            x = x + noise.to(self.device)
            step = "encode_prompts"
            if self._labelled:
                encoded: Conditioning = {_LABELS: np.zeros(2, np.int64)}
            else:
                encoded = _encode(self._module, config, ["a", "b"])
            step = "forward"
            time = np.asarray(self.schedule.model_time(self.schedule.snap(np.asarray([0.3, 0.7]))))
            before = x.clone()
            output = self.predict(
                x,
                torch.from_numpy(time).float().to(self.device),
                {name: torch.from_numpy(rows).to(self.device) for name, rows in encoded.items()},
            )
            self._expect(step, output)
            if not torch.equal(x, before):
                raise UserError(f"{self._where}: forward changes its x, which others need; copy it")
        except UserError:
            raise
        except Exception as error:  # it is the user's own
            raise UserError(
                f"{self._where}: {step} fails with {type(error).__name__}: {last_line(error)}"
            ) from error

    def _expect(self, step: str, came: torch.Tensor) -> None:
        if tuple(came.shape) != (2, *self.sample_shape):
            raise UserError(
                f"{self._where}: {step} gives {tuple(came.shape)} for 2 rows; its sample_shape "
                f"says {(2, *self.sample_shape)}"
            )


class CustomAdapter(Adapter):
    """Makes a user's own module."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> Custom:
        """Make the user's module, and try it once."""
        return Custom(custom_class.make(config), config, device)

    @torch.inference_mode()
    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return the result of the module's own `encode_prompts`, or `labels`: label numbers, (N,)
        int64.

        A new module is made for this: the network that scores is left unchanged.
        """
        module = custom_class.make(config)
        if _labels(module, config) is None:
            module = placed(module.eval(), device)
        return _encode(module, config, prompts)


def _labels(module: Any, config: ModelConfig) -> Sequence[str] | None:
    """Return the labels of a module that has no `encode_prompts`."""
    if hasattr(module, "encode_prompts"):
        return None
    labels = getattr(module, "labels", None)
    names = [] if labels is None else custom_class.names_of(labels, config)
    if not names:
        raise UserError(
            f"model.path {config.path} lacks labels or encode_prompts: one of them tells its "
            "classes apart"
        )
    return names


@torch.inference_mode()
def _encode(module: Any, config: ModelConfig, prompts: Sequence[str]) -> Conditioning:
    labels = _labels(module, config)
    if labels is not None:
        return {_LABELS: match(dict(enumerate(labels)), len(labels), prompts)}
    parts = [_encode_some(module, config, some) for some in chunks(prompts)]
    for part in parts[1:]:
        if {k: v.shape[1:] for k, v in part.items()} != {
            k: v.shape[1:] for k, v in parts[0].items()
        }:
            raise UserError(
                f"model.path {config.path}: encode_prompts gives rows of other shapes to other "
                "prompts; pad all to one length"
            )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _encode_some(module: Any, config: ModelConfig, prompts: list[str]) -> dict[str, NDArray[Any]]:
    encoded = module.encode_prompts(prompts)
    if not isinstance(encoded, Mapping):
        raise UserError(
            f"model.path {config.path}: encode_prompts gives a {type(encoded).__name__}; a dict "
            "of tensors is expected"
        )
    rows = {name: torch.as_tensor(of) for name, of in encoded.items()}
    if any(of.ndim == 0 or len(of) != len(prompts) for of in rows.values()):
        raise UserError(
            f"model.path {config.path}: encode_prompts gives {_shapes(rows)} for {len(prompts)} "
            "prompts; each tensor has one row a prompt"
        )
    return {name: _rows(name, of, config) for name, of in rows.items()}


def _rows(name: str, of: torch.Tensor, config: ModelConfig) -> NDArray[Any]:
    """Convert a conditioning tensor; its floats may be too large for the new dtype."""
    if of.dtype is torch.bool:
        return of.cpu().numpy()
    if not of.is_floating_point():
        return of.cpu().numpy().astype(np.int64)
    with np.errstate(over="ignore"):
        rows = as_rows([of], config)
    lost = np.isinf(rows) & of.isfinite().cpu().numpy()
    if lost.any():
        raise UserError(
            f"model.path {config.path}: encode_prompts gives {name} with "
            f"{of.detach().cpu()[torch.from_numpy(lost)][0].item():g}, more than {rows.dtype} "
            "holds; scale it, or give masks as bool (-inf and inf may stay)"
        )
    return rows


def _shapes(rows: Mapping[str, torch.Tensor]) -> str:
    return ", ".join(f"{name} {tuple(of.shape)}" for name, of in rows.items())
