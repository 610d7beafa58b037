"""zsd_ray measures diffusion models as zero-shot image classifiers.

>>> import zsd_ray
>>> result = zsd_ray.run(zsd_ray.RunConfig())  # doctest: +SKIP

Each command of the command line is a function here, and has its configuration beside it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsd_ray.api import self_check, train
    from zsd_ray.config.run import RunConfig, load_config
    from zsd_ray.config.training import load_training
    from zsd_ray.evaluation.check_model import check_model
    from zsd_ray.evaluation.evaluate import run
    from zsd_ray.evaluation.forecast import forecast
    from zsd_ray.evaluation.session import RunResult
    from zsd_ray.records.errors import UserError
    from zsd_ray.studies.fid.fid_config import FidConfig
    from zsd_ray.studies.fid.measuring import fid
    from zsd_ray.studies.generation.generate_config import GenerateConfig
    from zsd_ray.studies.generation.generating import generate
    from zsd_ray.studies.illustrations.illustrations_of_run import illustrate
    from zsd_ray.studies.probes.probe_config import ProbeConfig
    from zsd_ray.studies.probes.probing import probe
    from zsd_ray.studies.sweeps.suite_config import SuiteConfig
    from zsd_ray.studies.sweeps.sweeping import sweep

_HOMES = {
    "FidConfig": "zsd_ray.studies.fid.fid_config",
    "GenerateConfig": "zsd_ray.studies.generation.generate_config",
    "ProbeConfig": "zsd_ray.studies.probes.probe_config",
    "RunConfig": "zsd_ray.config.run",
    "RunResult": "zsd_ray.evaluation.session",
    "SuiteConfig": "zsd_ray.studies.sweeps.suite_config",
    "UserError": "zsd_ray.records.errors",
    "check_model": "zsd_ray.evaluation.check_model",
    "fid": "zsd_ray.studies.fid.measuring",
    "forecast": "zsd_ray.evaluation.forecast",
    "generate": "zsd_ray.studies.generation.generating",
    "illustrate": "zsd_ray.studies.illustrations.illustrations_of_run",
    "load_config": "zsd_ray.config.run",
    "load_training": "zsd_ray.config.training",
    "probe": "zsd_ray.studies.probes.probing",
    "run": "zsd_ray.evaluation.evaluate",
    "self_check": "zsd_ray.api",
    "sweep": "zsd_ray.studies.sweeps.sweeping",
    "train": "zsd_ray.api",
}

__all__ = [
    "FidConfig",
    "GenerateConfig",
    "ProbeConfig",
    "RunConfig",
    "RunResult",
    "SuiteConfig",
    "UserError",
    "check_model",
    "fid",
    "forecast",
    "generate",
    "illustrate",
    "load_config",
    "load_training",
    "probe",
    "run",
    "self_check",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    # Lazily, so that `zsd-ray --help` does not wait for pyarrow and torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
