"""Whatever a user calls classes, files and arguments, MLflow takes the run."""

from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils import validation

from tests.support.profiles import examples
from zsd_ray.config import identity
from zsd_ray.config.run import RunConfig, load_config
from zsd_ray.config.training import load_training
from zsd_ray.results.tracking.mlflow_names import LONGEST_PARAM, LONGEST_TAG, fit_name, fit_value
from zsd_ray.results.tracking.mlflow_run import MlflowRun
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.generation.generate_config import GenerateConfig
from zsd_ray.studies.probes.probe_config import ProbeConfig

HOSTILE = [
    "a, b", "it's", "[x", "(y)", '"', "two\nlines", "🦊", "a/b", "..", "../..", "/", "x" * 1000, "",
    " ", "\0", "a|b", "key=1", "{}", "$HOME", "-", "é", "a" * 249 + "/b",
]  # fmt: skip
_NAME = st.text(max_size=30) | st.sampled_from(HOSTILE)


def params_of(config):
    run = MlflowRun("http://h", "x", "r", identity.settings(config), {}, None)
    return run._params


@examples(50)
@given(
    st.dictionaries(_NAME, _NAME, min_size=2, max_size=5),
    st.dictionaries(_NAME, _NAME | st.integers() | st.dictionaries(_NAME, _NAME, max_size=2)),
    _NAME,
)
def test_every_configuration_has_names_and_values_that_mlflow_takes(classes, arguments, path):
    config = RunConfig()
    config = config.model_copy(
        update={
            "model": config.model.model_copy(update={"kwargs": arguments, "path": path}),
            "prompts": config.prompts.model_copy(
                update={"classes": classes, "templates": list(arguments)}
            ),
        }
    )
    params = params_of(config)
    assert params.keys() == params_of(RunConfig()).keys()
    for name, value in params.items():
        assert validation._validate_param(name, value) is not None
        assert len(value) <= validation.MAX_PARAM_VAL_LENGTH
        assert "\0" not in value
        value.encode()
    assert validation.MAX_PARAM_VAL_LENGTH == LONGEST_PARAM
    assert validation.MAX_TAG_VAL_LENGTH >= LONGEST_TAG


@examples(200)
@given(st.text(max_size=300) | st.lists(_NAME, min_size=1, max_size=5).map("/".join))
@example("a" * 249 + "/b")
@example("..x")
@example("a/./b//../c")
def test_every_text_becomes_a_name_that_mlflow_takes(text):
    name = fit_name(text)
    assert name
    assert len(name) <= validation.MAX_ENTITY_KEY_LENGTH
    validation._validate_metric_name(name)
    assert fit_name(name) == name


def test_names_that_mlflow_takes_stay():
    for name in ("accuracy", "sd21/ours/digits noise 3", "model.kwargs", "a-b_c:d"):
        assert fit_name(name) == name
    assert fit_name("sd21/ours/left|right, up") == "sd21/ours/left given right and  up"


def test_values_are_text_that_every_database_holds():
    assert fit_value("caf\udce9\0", 100) == "caf\\udce9\\x00"
    assert fit_value(["a" * 10], 5) == "['aaa"
    assert fit_value(None, 5) == "None"


@pytest.mark.parametrize(
    ("load", "file"),
    [
        (partial(load_config, RunConfig), "digits"),
        (partial(load_config, FidConfig), "fid"),
        (partial(load_config, GenerateConfig), "synthetic/generate"),
        (partial(load_config, ProbeConfig), "probes/digits"),
        (load_training, "training/ddpm-digits"),
        (load_training, "training/text-to-image-digits"),
    ],
)
def test_without_names_of_users_every_key_has_a_name_of_its_own(load, file):
    config = load(f"configs/{file}.yaml")
    plain = dict(identity.leaves(identity.resolved(config)))
    assert identity.settings(config).items() >= plain.items()
