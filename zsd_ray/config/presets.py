"""Named settings: the values that `preset` puts into the `method` and `pruning` sections.

default      nothing: the sections' own defaults
clark-jaini  Clark & Jaini 2023: the x-error weighted by exp(-7t), t uniform, Algorithm 1. Their
             t is in [0, 1], of which neither end can be weighted everywhere: it is FULL_RANGE
li-NAME      Li et al. 2023: t from 1 to 999 evenly spaced (here [0, 1]), in centred stages, by the
             stages and the loss that the authors' commands give for their data sets
li           the one for the run's own data set, if they have it, else that of CIFAR-10

Keys set beside a preset override it; another rule removes all of its pruning keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from zsd_ray.config.classifier_method import FULL_RANGE

Preset = Literal[
    "default",
    "clark-jaini",
    "li",
    "li-cifar10",
    "li-stl10",
    "li-pets",
    "li-flowers",
    "li-food",
    "li-aircraft",
    "li-imagenet",
]
Tree = Mapping[str, Any]


def _li(keep: list[int], draws: list[int], loss: str) -> dict[str, Tree]:
    method = {"weighting": "simple", "loss": loss, "timesteps": "grid", "t_range": [0.0, 1.0]}
    return {"method": method, "pruning": {"rule": "li", "keep": keep, "draws": draws}}


_PRESETS: Mapping[str, Mapping[str, Tree]] = {
    "default": {"method": {}, "pruning": {}},
    "clark-jaini": {
        "method": {
            "weighting": "heuristic",
            "loss": "l2",
            "timesteps": "uniform",
            "t_range": list(FULL_RANGE),
        },
        "pruning": {
            "rule": "clark-jaini",
            "min_scores": 20,
            "max_scores": 2000,
            "p_value": 2e-3,
        },
    },
    "li-cifar10": _li([5, 1], [50, 500], "l1"),
    "li-stl10": _li([5, 1], [100, 500], "l1"),
    "li-pets": _li([5, 1], [25, 250], "l1"),
    "li-flowers": _li([20, 10, 5, 1], [20, 50, 100, 500], "l1"),
    "li-food": _li([20, 10, 5, 1], [20, 50, 100, 500], "l2"),
    "li-aircraft": _li([20, 10, 5, 1], [20, 50, 100, 500], "l2"),
    "li-imagenet": _li([500, 50, 10, 1], [50, 100, 500, 1000], "l2"),
}

_LI_OF_SOURCE = {
    "cifar10": "li-cifar10",
    "stl10": "li-stl10",
    "oxford-pets": "li-pets",
    "flowers102": "li-flowers",
    "food101": "li-food",
    "fgvc-aircraft": "li-aircraft",
    "imagenet": "li-imagenet",
    "imagenet-a": "li-imagenet",
    "imagenet-r": "li-imagenet",
    "imagenet-sketch": "li-imagenet",
    "imagenet-v2": "li-imagenet",
    "objectnet": "li-imagenet",
}

_RANGES = ("t_range", "snr_range")


def with_preset(tree: Tree) -> dict[str, Any]:
    """Return a run's tree with the values of its preset for keys that the tree does not set.

    Raises:
        ValueError: a preset other than the default is given to another method.
    """
    name = tree.get("preset", "default")
    method, pruning = tree.get("method") or {}, tree.get("pruning") or {}
    if name == "default" or not isinstance(method, Mapping) or not isinstance(pruning, Mapping):
        return dict(tree)
    own = settings_of(name, tree.get("data"))
    if own is None:
        return dict(tree)  # the field's own check says which there are
    other = method.get("name", "diffusion-classifier")
    if other != "diffusion-classifier":
        raise ValueError(
            f"preset {name} is for method.name diffusion-classifier, but came with {other}; "
            "remove preset"
        )
    given = own["method"]
    if any(method.get(key) is not None for key in _RANGES):
        given = {key: value for key, value in given.items() if key not in _RANGES}
    rule = own["pruning"]
    if pruning.get("rule", rule["rule"]) != rule["rule"]:
        rule = {}
    return {**tree, "method": {**given, **method}, "pruning": {**rule, **pruning}}


def settings_of(name: str, data: Any) -> Mapping[str, Tree] | None:
    """Return the sections of a preset; None: there is none of this name.

    Args:
        data: the run's data section, whose source decides for `li`.
    """
    if name == "li":
        source = data.get("source") if isinstance(data, Mapping) else None
        name = _LI_OF_SOURCE.get(str(source), "li-cifar10")
    return _PRESETS.get(name)


_FILLED_IN = ("grid_points", "grid_stages", "profile", "fitted")
"""Keys that follow from others, or that a weighting's name stands for."""


def departures(config: Mapping[str, Any], preset: Mapping[str, Any]) -> list[str]:
    """Return keys of a resolved configuration that differ from its preset's: "pruning.alpha 0.01".

    For another rule than the preset's, only its name is given.
    """
    found = []
    for section in ("method", "pruning"):
        own, expected = config.get(section, {}), preset[section]
        if own.get("rule") != expected.get("rule"):
            own = {"rule": own.get("rule")}
        found += [
            f"{section}.{key} {_text(value)}"
            for key, value in own.items()
            if key not in _FILLED_IN
            and value != expected.get(key)
            # A range that is not set stands for the one that is.
            and not (key in ("t_range", "snr_range") and value is None)
        ]
    return found


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
