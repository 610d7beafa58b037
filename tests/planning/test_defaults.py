"""What follows from a family is filled in; what does not go with it is refused in one line."""

import pytest

from zsd_ray.config.algorithms import NoiseDenoiseMethod
from zsd_ray.config.run import ModelConfig, ResolvedConfig, RunConfig, parse_config
from zsd_ray.planning.defaults import with_defaults
from zsd_ray.records.errors import UserError


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
    assert with_defaults(config) == ResolvedConfig.of(config)


@pytest.mark.parametrize(("family", "sections", "advice"), [
    ("clip", {"method": {"name": "diffusion-classifier"}}, "set method.name: classifier"),
    ("timm", {"method": {"weighting": "vdm"}}, "method.weighting is of no use to"),
    ("timm", {"model": {"family": "timm", "compile": True}}, "model.compile is of no use to"),
    ("clip", {"model": {"family": "clip", "max_difference": 0.1}}, "model.max_difference is of no"),
    ("timm", {"model": {"family": "timm", "max_difference": 0.1}}, "model.max_difference is of no"),
    ("clip", {"pruning": {"rule": "li"}}, "set pruning: {rule: none, draws: 1}"),
    ("clip", {"pruning": {"rule": "none", "draws": 3}}, "set pruning: {rule: none, draws: 1}"),
    ("stable-diffusion", {"method": {"name": "classifier"}}, "method.name: diffusion-classifier"),
    ("stable-diffusion", {"pruning": {"rule": "vote", "levels": 1, "draws": 2}}, "rule vote is"),
    ("clip", {"method": {"name": "ddim-knn"}}, "method.name ddim-knn is for diffusion models"),
    ("sd3", {"method": {"name": "ddim-knn"}, "pruning": {"rule": "li"}}, "all classes of a draw"),
    ("sd3", {"method": {"name": "exact-likelihood"}, "pruning": {"rule": "li"}}, "counts what it"),
    ("sd3", {"method": {"name": "ddim-knn"}, "model": {"family": "sd3", "max_difference": 1}},
     "model.max_difference is about the diffusion classifier's errors"),
])  # fmt: skip
def test_what_does_not_go_together_is_refused(family, sections, advice):
    with pytest.raises(UserError) as caught:
        settle(family, **sections)
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rule_without_draws_takes_the_algorithms():
    config = settle("stable-diffusion", method={"name": "noise-denoise"}, pruning={"rule": "none"})
    assert config.pruning.draws == 4


def test_a_section_made_in_python_is_refused_too():
    config = RunConfig(model=ModelConfig(family="clip"), method=NoiseDenoiseMethod())
    with pytest.raises(UserError, match="is for diffusion models"):
        with_defaults(config)


def test_an_algorithm_takes_its_own_number_of_draws():
    config = settle("stable-diffusion", method={"name": "noise-denoise-vote", "levels": [0.2, 0.4]})
    assert config.pruning.model_dump() == {"rule": "vote", "levels": 2, "draws": 2}
    config = settle("stable-diffusion", method={"name": "ddim-knn"})
    assert config.pruning.model_dump() == {"rule": "none", "draws": 1}
    assert with_defaults(config) == config
    asked = {"rule": "anytime", "max_draws": 8}
    config = settle("stable-diffusion", method={"name": "noise-denoise"}, pruning=asked)
    assert config.pruning.max_draws == 8


def test_templates_have_a_name_or_follow_from_the_family():
    assert len(settle("stable-diffusion", prompts={"templates": "openai"}).prompts.templates) == 80
    assert settle("timm").prompts.templates == ["{}"]
    assert settle("dit").prompts.templates == ["{}"]
    assert settle("dit", prompts={"templates": ["a {}"]}).prompts.templates == ["a {}"]
    assert settle("clip").prompts.templates == ["a photo of a {}."]
    with pytest.raises(UserError, match=r"prompts.templates"):
        settle("clip", prompts={"templates": "openay"})


@pytest.mark.parametrize(("keys", "points"), [
    ({}, 500),
    ({"grid_points": 7}, 7),
])  # fmt: skip
def test_a_grid_has_as_many_points_as_the_rule_has_draws(keys, points):
    pruning = {"rule": "li", "keep": [3, 1], "draws": [50, 500]}
    method = {"timesteps": "grid", **keys}
    config = settle("stable-diffusion", pruning=pruning, method=method)
    assert config.method.grid_points == points
    assert with_defaults(config) == config


def named(source, family="stable-diffusion", **sections):
    data = {"source": source, "path": "somewhere"}
    return settle(family, data=data, **sections).prompts


def test_a_named_set_brings_its_classes_and_its_template():
    prompts = named("dtd")
    assert prompts.classes[:2] == ["banded", "blotchy"]
    assert prompts.templates == ["a photo of a {} texture."]


def test_what_is_set_goes_before_what_a_named_set_brings():
    prompts = named("mnist", prompts={"templates": ["{}"], "classes": list("abcdefghij")})
    assert (prompts.templates, prompts.classes[0]) == (["{}"], "a")


def test_imagenet_is_called_as_each_kind_of_model_knows_it():
    clip = named("imagenet")
    assert (len(clip.classes), clip.classes[0]) == (1000, "tench")
    assert clip.templates == ["A bad photo of a {}."]
    assert named("imagenet", "dit").classes == [str(n) for n in range(1000)]
    assert named("imagenet", "dit").templates == ["{}"]
    assert named("imagenet", "timm").classes[:2] == ["n01440764", "n01443537"]


def test_a_part_of_imagenet_is_its_own_classes():
    assert named("imagenet-a").classes[0] == "stingray"
    assert named("imagenet-a", "dit").classes[0] == "6"
    assert len(named("imagenet-r", "timm").classes) == 200


def test_an_objectnet_class_is_all_of_its_imagenet_labels_to_a_supervised_model():
    classes = named("objectnet", "timm").classes
    assert classes[0] == "n02708093 | n03196217"
    assert len(classes) == 113
    assert named("objectnet").classes[0] == "alarm clock"


def test_a_grid_has_the_stages_of_the_rule_that_has_some():
    def stages(rule, **keys):
        config = settle("stable-diffusion", pruning=rule, method={"timesteps": "grid", **keys})
        return config.method.grid_stages

    assert stages({"rule": "li"}) == [50, 500]
    assert stages({"rule": "li", "draws": [20, 100]}, grid_points=100) == [20, 100]
    assert stages({"rule": "li"}, grid_stages=[7]) == [7]
    assert stages({"rule": "none"}) is None
