"""A run's identity: a hash of everything that affects its numbers, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zsd_ray.config.method_table import MethodConfig
from zsd_ray.config.run import RunConfig
from zsd_ray.records.redaction import redacted
from zsd_ray.settings.section import WHOLE, Section

NUMERICS = 3
"""Raised whenever the same configuration gives other scores than before (see CHANGELOG.md)."""


def identity_parts(
    config: RunConfig,
    classes: Sequence[str],
    of_label: Sequence[int] | None,
    model_fingerprint: str,
    screen: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return everything that the numbers of a run depend on, as plain values.

    Cluster, output, tracking, the device, the batch size and the limit are left out: an interrupted
    run may resume with others. The parts may hold secrets of URLs: hash them as they are and show
    them `redacted`.

    Args:
        classes, of_label: the class names, and the class of each label of the data.
        screen: everything that the choice of each image's candidate classes depends on.
    """
    tree = config.model_dump(mode="json", context={WHOLE: True})
    for name in ("preset", "cluster", "output", "screen", "storage", "tracking"):
        del tree[name]
    if screen is not None:
        tree["screen"] = dict(screen)
    # The fingerprint tells more of a model than where it came from.
    source = ("path", "revision", "variant", "pickle", "pretrained")
    for name in (*source, "device", "compile", "max_difference"):
        del tree["model"][name]
    del tree["data"]["limit"]
    tree["data"] = _with_effect(tree["data"], _DATA_WITHOUT_EFFECT)
    tree["method"] = _method_parts(config.method)
    tree["pruning"] |= config.pruning.gone
    tree["model"]["fingerprint"] = model_fingerprint
    tree["prompts"]["classes"] = list(classes)
    tree["prompts"]["of_label"] = None if of_label is None else list(of_label)
    return {"numerics": NUMERICS, **tree}


_DATA_WITHOUT_EFFECT = {
    "layout": None,
    "caption_column": None,
    "group_column": None,
    "task": None,
    "corruption": None,
}
_METHOD_WITHOUT_EFFECT = {
    "grid_points": None,
    "grid_stages": None,
    "normaliser": "none",
    "class_offset": None,
    "fitted": None,
    "t_range": None,
    "snr_range": None,
}
"""Keys of a section that say nothing at these values, whatever their defaults are."""


_CLASSIFIER_PARTS = {
    "name": "classifier",
    "weighting": "standardised",
    "loss": "l2",
    "timesteps": "stratified",
    "t_range": "auto",
}
"""What outputs of baselines hold since there are any; none of it says anything of them."""


def _method_parts(method: MethodConfig) -> dict[str, Any]:
    """Return the identity of a method, with a profile by its values."""
    tree = method.model_dump(mode="json", exclude={"profile": True, "fitted": {"fitted_on"}})
    if method.of_classifier:
        return dict(_CLASSIFIER_PARTS)
    return _with_effect(tree, _METHOD_WITHOUT_EFFECT)


def _with_effect(tree: Mapping[str, Any], without: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in tree.items() if key not in without or value != without[key]
    }


def hash_of(parts: Mapping[str, Any]) -> str:
    """Return a hash of plain values that does not depend on the order of keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe the differences of two shown identities, one entry per key."""
    old, new = dict(leaves(before)), dict(leaves(now))
    shown = [
        f"{key} was {json.dumps(old.get(key))}, now {json.dumps(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    return shown or ["what differs is hidden: a password, or the query of a URL"]


def resolved(config: Section) -> dict[str, Any]:
    """Return the whole configuration as plain values, without the passwords of its URLs."""
    return redacted(config.model_dump(mode="json"))


def settings(config: Section) -> dict[str, Any]:
    """Return the values of a configuration, each under its path: "cluster.batch_size".

    A mapping with user-defined keys, such as names of classes, is one value. No password is shown.
    """
    return dict(_settings(config, resolved(config), ""))


def _settings(section: Section, tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        below = getattr(section, key)
        if isinstance(below, Section):
            yield from _settings(below, value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a tree of sections, each under its path: ("cluster.batch_size", 64)."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
