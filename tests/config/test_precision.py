"""`model.dtype: auto` is one dtype for all workers, and no old output is refused over it."""

import pickle

import pytest

from tests.config.test_identity import parts
from zsd_ray.config.identity import hash_of
from zsd_ray.config.precision import as_before
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.generation.generate_config import GenerateConfig
from zsd_ray.studies.probes.probe_config import ProbeConfig

GPU = {"cluster": {"gpus_per_worker": 1}}


@pytest.mark.parametrize(
    ("tree", "dtype"),
    [
        ({}, "float32"),
        ({"model": {"dtype": "auto"}}, "float32"),
        (GPU, "bfloat16"),
        ({"cluster": {"gpus_per_worker": 0.5}}, "bfloat16"),
        ({"model": {"dtype": "auto"}, **GPU}, "bfloat16"),
        ({"model": {"device": "cuda:0"}}, "bfloat16"),  # in this process, without Ray
        ({"model": {"device": "cpu"}, **GPU}, "float32"),
        ({"model": {"dtype": "float16"}, **GPU}, "float16"),
        ({"model": {"dtype": "bfloat16"}}, "bfloat16"),
        ({"model": {"family": "flux"}, **GPU}, "bfloat16"),
        ({"model": {"family": "clip"}, **GPU}, "float32"),
        ({"model": {"family": "custom"}, **GPU}, "float32"),
        ({"method": {"name": "exact-likelihood"}, **GPU}, "float32"),
    ],
)
def test_it_is_settled_by_the_configuration_alone(tree, dtype):
    assert parse_config(RunConfig, tree).model.dtype == dtype
    assert parts(tree)["model"]["dtype"] == dtype


@pytest.mark.parametrize(
    ("kind", "tree"),
    [
        (ProbeConfig, {}),
        (GenerateConfig, {"images": 1}),
    ],
)
def test_what_is_probed_or_drawn_is_the_same(kind, tree):
    assert parse_config(kind, tree).model.dtype == "float32"
    assert parse_config(kind, tree | GPU).model.dtype == "bfloat16"


def test_features_for_fid_are_float32_everywhere():
    extractor = {"kind": "denoiser", "block": "mid"}
    config = parse_config(FidConfig, {"extractor": extractor, "generated": {}, **GPU})
    assert config.extractor.model.dtype == "float32"


@pytest.mark.parametrize(
    ("tree", "before"),
    [
        ({}, "3416e825189f81ff"),
        ({"model": {"dtype": "float32"}, **GPU}, "3416e825189f81ff"),
        ({"model": {"dtype": "bfloat16"}}, "e4af170b6585edc6"),
        (GPU, "e4af170b6585edc6"),
        ({"model": {"family": "probe"}}, "66f048601bd5ffea"),
    ],
)
def test_identities_are_those_from_before_there_was_auto(tree, before):
    method = {"weighting": "heuristic", "timesteps": "uniform", "t_range": [0.02, 0.98]}
    explicit = {"method": method, "pruning": {"rule": "none", "draws": 100}}
    assert hash_of(parts(explicit | tree)) == before


@pytest.mark.parametrize("before", ["float32", "bfloat16", "float16"])
def test_an_output_is_gone_on_with_in_its_dtype_where_none_is_named(before):
    held = {"model": {"dtype": before}}
    config = pickle.loads(pickle.dumps(parse_config(RunConfig, GPU)))  # noqa: S301 - as Ray does
    assert as_before(config, held).model.dtype == before
    assert "dtype" not in as_before(config, held).model.model_fields_set
    named = parse_config(RunConfig, {"model": {"dtype": "float16"}, **GPU})
    assert as_before(named, held).model.dtype == "float16"


@pytest.mark.parametrize("held", [None, {}, {"model": None}, {"model": {"dtype": "x"}}, []])
def test_what_an_output_does_not_say_changes_nothing(held):
    assert as_before(parse_config(RunConfig, GPU), held).model.dtype == "bfloat16"
