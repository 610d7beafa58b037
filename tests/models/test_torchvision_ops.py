"""The mend for torchvision beside a CPU-only torch, in processes of their own."""

import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.usefixtures("a_process")


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.full
def test_everything_imports_after_the_mend_and_it_may_be_called_twice():
    code = """
from zsd_ray.models.torchvision_ops import declare_missing_operators
declare_missing_operators(); declare_missing_operators()
import torchvision
from transformers import CLIPTextModel
from diffusers import AutoencoderKL, UNet2DConditionModel
import open_clip
print("imported")
"""
    result = python(code)
    assert result.stdout.strip().endswith("imported"), result.stderr


@pytest.mark.skipif(torch.version.cuda is not None, reason="a CUDA build needs no mend")
def test_another_failure_of_torchvision_is_not_hidden(tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('something else')")
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from zsd_ray.models.torchvision_ops import declare_missing_operators
declare_missing_operators()
"""
    assert "something else" in python(code).stderr
