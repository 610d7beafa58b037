"""torch-fidelity, an independent computation of FID and KID."""

from importlib import import_module

from zsd_ray.models.torchvision_ops import declare_missing_operators


def fidelity(module):
    """One of its modules."""
    declare_missing_operators()
    return import_module(f"torch_fidelity.{module}")
