"""What follows from a family is filled in; what does not go with it is refused in one line."""

import pytest

from zsd_ray.engine.defaults import with_defaults
from zsd_ray.spec.config import RunConfig, parse_config
from zsd_ray.spec.errors import UserError


def settle(family, **sections):
    return with_defaults(parse_config(RunConfig, {"model": {"family": family}, **sections}))


@pytest.mark.parametrize("family", ["clip", "timm"])
def test_a_classifier_needs_no_method_and_no_pruning(family):
    config = settle(family)
    assert config.method.name == "classifier"
    assert config.pruning.model_dump() == {"rule": "none", "draws": 1}
    assert settle(family, method={"name": "classifier"}, pruning={"rule": "none"}) == config


def test_what_was_settled_is_settled():
    for family in ("clip", "timm", "stable-diffusion", "dit"):
        config = settle(family)
        assert with_defaults(config) == config
        assert with_defaults(parse_config(RunConfig, config.model_dump(mode="json"))) == config


def test_a_diffusion_model_keeps_what_is_set():
    config = parse_config(RunConfig, {"pruning": {"rule": "li"}, "method": {"loss": "l1"}})
    assert with_defaults(config) == config


@pytest.mark.parametrize(("family", "sections", "advice"), [
    ("clip", {"method": {"name": "diffusion-classifier"}}, "set method.name: classifier"),
    ("timm", {"method": {"weighting": "vdm"}}, "method.weighting is of no use to"),
    ("timm", {"model": {"family": "timm", "compile": True}}, "model.compile is of no use to"),
    ("clip", {"model": {"family": "clip", "max_difference": 0.1}}, "model.max_difference is of no"),
    ("timm", {"model": {"family": "timm", "max_difference": 0.1}}, "model.max_difference is of no"),
    ("clip", {"pruning": {"rule": "li"}}, "set pruning: {rule: none, draws: 1}"),
    ("clip", {"pruning": {"rule": "none", "draws": 3}}, "set pruning: {rule: none, draws: 1}"),
    ("stable-diffusion", {"method": {"name": "classifier"}}, "method.name: diffusion-classifier"),
])  # fmt: skip
def test_what_does_not_go_together_is_refused(family, sections, advice):
    with pytest.raises(UserError) as caught:
        settle(family, **sections)
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_templates_have_a_name_or_follow_from_the_family():
    assert len(settle("stable-diffusion", prompts={"templates": "openai"}).prompts.templates) == 80
    assert settle("timm").prompts.templates == ["{}"]
    assert settle("dit").prompts.templates == ["{}"]
    assert settle("dit", prompts={"templates": ["a {}"]}).prompts.templates == ["a {}"]
    assert settle("clip").prompts.templates == ["a photo of a {}."]
    with pytest.raises(UserError, match=r"prompts.templates"):
        settle("clip", prompts={"templates": "openay"})
