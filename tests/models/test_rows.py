"""Compiling is tried, and its failure is said and survived."""

import numpy as np
import pytest
import torch

from zsd_ray.models.registry import encode_prompts, load_model
from zsd_ray.models.rows import compile_or_warn, row_network
from zsd_ray.spec.config import ModelConfig


def arguments():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    rows = torch.tensor([0, 0, 1, 1])
    return x, torch.tensor([100.0, 700.0]), rows, torch.tensor([0, 1, 0, 1])


def test_a_denoiser_without_a_way_of_its_own_gets_its_rows(tiny_model):
    config = ModelConfig(path=str(tiny_model), device="cpu")
    denoiser = load_model(config)
    hidden = torch.from_numpy(encode_prompts(config, ["a cat", "a dog"])["hidden"])

    class Plain:
        device = denoiser.device
        predict = staticmethod(denoiser.predict)

    own = row_network(denoiser, {"hidden": hidden}, compile=False)(*arguments())
    gathered = row_network(Plain(), {"hidden": hidden}, compile=False)(*arguments())
    np.testing.assert_allclose(own.numpy(), gathered.numpy(), rtol=1e-5, atol=1e-5)


def test_a_network_that_cannot_be_compiled_runs_plainly_and_says_so(monkeypatch):
    from torch._dynamo.exc import TorchDynamoException

    def broken(function, dynamic):
        def call(*arguments):
            raise TorchDynamoException("no compiler here")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    double = compile_or_warn(lambda x: 2 * x)
    with pytest.warns(UserWarning, match=r"runs uncompiled, slower \(no compiler here\)"):
        assert double(3) == 6
    assert double(4) == 8  # and says it once


def test_an_error_of_the_network_itself_is_not_hidden(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)

    def overflow(x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        compile_or_warn(overflow)(1)


def test_memory_that_runs_out_while_compiling_is_no_reason_not_to_compile(monkeypatch):
    from torch._dynamo.exc import BackendCompilerFailed

    def short(function, dynamic):
        def call(*arguments):
            raise BackendCompilerFailed(
                function, torch.OutOfMemoryError("CUDA out of memory"), None
            )

        return call

    monkeypatch.setattr(torch, "compile", short)
    with pytest.raises(torch.OutOfMemoryError):
        compile_or_warn(lambda x: x)(1)
