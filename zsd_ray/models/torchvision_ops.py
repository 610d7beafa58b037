"""Repairs torchvision for a CPU-only torch.

A torchvision wheel built for CUDA does not load its C++ operators beside a CPU build of torch
(the two often come from different indexes), and its import then fails on the missing schema of
`torchvision::nms`; with it fail transformers' CLIP, diffusers and open_clip. None of them calls
those operators here, so declaring their schemas is enough: everything imports, and a call to one
still raises.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import torch

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def declare_missing_operators() -> None:
    """Make `import torchvision` work; does nothing where it already does.

    The import is tried first: a torchvision that matches its torch registers these schemas itself,
    and would refuse to do so after us.
    """
    if torch.version.cuda is not None or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name, schema in _SCHEMAS.items():
            if not hasattr(torch.ops.torchvision, name):
                torch.library.define(f"torchvision::{name}", schema)
        importlib.import_module("torchvision")
