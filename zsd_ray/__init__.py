"""zsd_ray measures diffusion models as zero-shot image classifiers.

>>> import zsd_ray
>>> result = zsd_ray.run(zsd_ray.RunConfig())  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsd_ray.api import run
    from zsd_ray.config.run import RunConfig, load_config
    from zsd_ray.evaluation.session import RunResult
    from zsd_ray.records.errors import UserError

__all__ = ["RunConfig", "RunResult", "UserError", "load_config", "run"]

_HOMES = {
    "RunConfig": "zsd_ray.config.run",
    "UserError": "zsd_ray.records.errors",
    "load_config": "zsd_ray.config.run",
    "RunResult": "zsd_ray.evaluation.session",
    "run": "zsd_ray.api",
}


def __getattr__(name: str) -> Any:
    # Lazily, so that `zsd-ray --help` does not wait for pyarrow and torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
