"""The sections of the algorithms: what they allow, what they cost, and what stays as it was."""

import pytest

from zsd_ray.config.algorithms import ALGORITHMS
from zsd_ray.config.identity import identity_parts
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.records.errors import UserError


def section(**method):
    return parse_config(RunConfig, {"method": method}).method


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_section_is_read_as_it_was_written(name):
    method = section(name=name)
    assert type(method) is ALGORITHMS[name]
    assert section(**method.model_dump(mode="json")) == method


def test_without_a_name_it_is_the_diffusion_classifiers():
    assert parse_config(RunConfig, {"method": {"weighting": "vdm"}}).method.weighting == "vdm"


@pytest.mark.parametrize(("method", "message"), [
    ({"name": "noise-denoize"}, "method.name: came 'noise-denoize'; allowed: 'diffusion-class"),
    ({"name": "noise-denoise", "levle": 1}, "unknown key method.levle; did you mean 'level'?"),
    ({"name": "noise-denoise", "levels": [0.1]}, "unknown key method.levels"),
    ({"name": "noise-denoise-vote", "level": 0.1}, "unknown key method.level"),
    ({"name": "noise-denoise-vote", "levels": []}, "method.levels: came []"),
    ({"name": "noise-denoise", "level": 1.5}, "method.level: came 1.5"),
    ({"name": "noise-denoise", "distance": "clip"}, "go together, but came distance clip without"),
    ({"name": "noise-denoise", "clip": {"path": "ViT-B-32"}}, "distance latent with one"),
    ({"name": "exact-likelihood", "t_range": [0.5, 0.2]}, "needs 0 <= low < high <= 1"),
    ({"name": "weighted-prompts", "t_range": [0.5, 0.5]}, "needs 0 <= low < high <= 1"),
    ({"name": "textual-inversion", "t_range": [0, 2]}, "needs 0 <= low < high <= 1"),
    ({"name": "exact-likelihood", "steps": 5}, "steps is of no use with solver adaptive; remove"),
    ({"name": "exact-likelihood", "solver": "rk4", "rtol": 0.1}, "rtol is of no use with solver"),
    ({"name": "cross-attention", "threshold": 0.1}, "threshold is of no use with aggregate mean"),
    ({"name": "cross-attention", "weighting": "vdm"}, "unknown key method.weighting"),
    ({"name": "cross-attention", "group": 1}, "method.group: came 1"),
    ({"name": "ddim-knn", "choose": "best"}, "method.choose: came \"best\""),
    ([1], "method: came [1]"),
])  # fmt: skip
def test_what_is_not_allowed_is_said_in_one_line(method, message):
    with pytest.raises(UserError) as caught:
        parse_config(RunConfig, {"method": method})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("method", "n_classes", "cost"), [
    ({"name": "noise-denoise", "steps": 7}, 10, (7, 0)),
    ({"name": "noise-denoise", "steps": 7, "guidance_scale": 3}, 10, (14, 0)),
    ({"name": "noise-denoise-vote", "steps": 3}, 10, (3, 0)),
    ({"name": "ddim-knn", "steps": 9}, 10, (9, 0)),
    ({"name": "exact-likelihood", "solver": "heun", "steps": 5}, 10, (10, 0)),
    ({"name": "exact-likelihood", "solver": "rk4", "steps": 5}, 10, (20, 0)),
    ({"name": "textual-inversion", "steps": 5, "batch_size": 3}, 10, (0, 15)),
    ({"name": "weighted-prompts", "steps": 5, "batch_size": 3}, 10, (0, 15)),
    # 10 classes by 4: three prompts, and a last one of three winners
    ({"name": "cross-attention", "times": [0.5, 0.6], "group": 4}, 10, (0, 8)),
])  # fmt: skip
def test_what_a_draw_costs(method, n_classes, cost):
    assert section(**method).evaluations(n_classes) == cost


def test_the_identity_holds_the_keys_of_the_section():
    def parts(**method):
        config = parse_config(RunConfig, {"method": method})
        return identity_parts(config, ["a", "b"], None, "f")["method"]

    assert parts(name="ddim-knn", steps=7)["steps"] == 7
    assert parts(name="ddim-knn") != parts(name="ddim-knn", choose="nearest") or (
        parts(name="ddim-knn") != parts(name="ddim-knn", choose="outlier")
    )
    # The diffusion classifier's own is as it was: outputs of earlier versions go on.
    assert parts(weighting="simple", timesteps="uniform", t_range=[0.02, 0.98]) == {
        "name": "diffusion-classifier",
        "weighting": "simple",
        "loss": "l2",
        "timesteps": "uniform",
        "t_range": [0.02, 0.98],
    }
