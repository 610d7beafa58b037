"""Compiling is tried, and its failure is said and survived."""

import copy
from functools import partial

import numpy as np
import pytest
import torch

from tests.support.models import encode_prompts, load_model
from tests.support.tiny_models import BUILDERS
from zsd_ray.config.run import ModelConfig
from zsd_ray.models import unet_rows
from zsd_ray.models.rows import compile_or_warn, row_network


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

    def broken(function, dynamic, isolate_recompiles):
        def call(*arguments):
            raise TorchDynamoException("no compiler here")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    double = compile_or_warn(lambda x: 2 * x)
    with pytest.warns(UserWarning, match=r"runs uncompiled, slower \(no compiler here\)"):
        assert double(3) == 6
    assert double(4) == 8  # and says it once


def test_an_error_of_the_network_itself_is_not_hidden(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, dynamic, isolate_recompiles: function)

    def overflow(x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        compile_or_warn(overflow)(1)


def test_memory_that_runs_out_while_compiling_is_no_reason_not_to_compile(monkeypatch):
    from torch._dynamo.exc import BackendCompilerFailed

    def short(function, dynamic, isolate_recompiles):
        def call(*arguments):
            raise BackendCompilerFailed(
                function, torch.OutOfMemoryError("CUDA out of memory"), None
            )

        return call

    monkeypatch.setattr(torch, "compile", short)
    with pytest.raises(torch.OutOfMemoryError):
        compile_or_warn(lambda x: x)(1)


@pytest.fixture
def n_graphs(monkeypatch):
    """How many graphs were compiled; by a compiler that leaves them as they are."""
    graphs = []

    def compiler(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=compiler))
    yield lambda: len(graphs)
    torch._dynamo.reset()


def light_unet(denoiser, number, monkeypatch):
    """Its two functions do little of what takes the compiler seconds to read."""
    denoiser._network.number = number
    monkeypatch.setattr(unet_rows, "_trunk", lambda unet, x, time: [time, x + unet.number])
    monkeypatch.setattr(unet_rows, "_rest", lambda unet, parts, prompt: parts[1] * unet.number)


def light_transformer(denoiser, number, monkeypatch):
    class Forward(torch.nn.Module):
        dtype = torch.float32

        def forward(self, x, timestep, class_labels, return_dict):
            return (torch.cat([x, x], dim=1),)

    monkeypatch.setattr(denoiser, "_network", Forward())


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("kind", "lighten", "each"),
    [
        (("stable-diffusion", "epsilon"), light_unet, 2),
        (("dit", "imagenet"), light_transformer, 1),
    ],
    ids=["unet", "transformer"],
)
def test_every_binding_of_a_process_is_compiled(
    kind, lighten, each, n_graphs, tmp_path, monkeypatch
):
    prompts, keys = BUILDERS[kind](tmp_path / "model")
    config = ModelConfig(family=kind[0], path=str(tmp_path / "model"), device="cpu", **keys)
    rows = encode_prompts(config, prompts)
    rows = {name: torch.from_numpy(of) for name, of in rows.items()}
    loaded = load_model(config)
    x, *others = arguments()
    for n_bound in range(1, 11):
        denoiser = copy.deepcopy(loaded)
        lighten(denoiser, n_bound, monkeypatch)
        bound = row_network(denoiser, rows, compile=True)
        for _ in range(2):
            bound(x, *others)
        assert n_graphs() == each * n_bound


def test_a_shape_too_many_runs_plainly_and_says_so_once(n_graphs):
    double = compile_or_warn(lambda x: 2 * x)
    for n in range(2, 10):
        assert double(torch.ones(n)).sum() == 2 * n
    assert n_graphs() == torch._dynamo.config.recompile_limit == 8
    with pytest.warns(UserWarning, match="runs uncompiled, slower .8 shapes are compiled") as said:
        assert [int(double(torch.ones(n)).sum()) for n in (10, 11, 10, 2)] == [20, 22, 20, 4]
    assert len(said) == 1
    assert n_graphs() == 8
