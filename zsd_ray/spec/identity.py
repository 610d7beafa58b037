"""A run's identity: a hash of everything that changes its numbers, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zsd_ray.spec.config import RunConfig
from zsd_ray.spec.secrets import redacted
from zsd_ray.spec.section import Section

NUMERICS = 2
"""Raised whenever the same configuration gives other scores than before (see CHANGELOG.md)."""


def identity_parts(
    config: RunConfig,
    classes: Sequence[str],
    of_label: Sequence[int] | None,
    model_fingerprint: str,
) -> dict[str, Any]:
    """Return what the numbers of a run depend on, as plain values.

    Cluster, output, tracking, the device, the batch size and the limit are left out: an
    interrupted run may go on with others. The parts may hold secrets of URLs: hash them as they are
    and show them `redacted`.

    Args:
        classes, of_label: the class names, and which class each label of the data is.
    """
    tree = config.model_dump(mode="json")
    del tree["cluster"], tree["output"], tree["storage"], tree["tracking"]
    # The fingerprint tells more of a model than where it came from.
    source = ("path", "revision", "variant", "pickle", "pretrained")
    for name in (*source, "device", "compile", "max_difference"):
        del tree["model"][name]
    del tree["data"]["limit"]
    tree["model"]["fingerprint"] = model_fingerprint
    tree["prompts"]["classes"] = list(classes)
    tree["prompts"]["of_label"] = None if of_label is None else list(of_label)
    return {"numerics": NUMERICS, **tree}


def hash_of(parts: Mapping[str, Any]) -> str:
    """A hash of plain values that does not depend on the order of keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in words where two identities differ, one entry a key."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    return [
        f"{key} was {json.dumps(old.get(key))}, now {json.dumps(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def resolved(config: Section) -> dict[str, Any]:
    """The whole configuration as plain values, without the passwords of its URLs."""
    return redacted(config.model_dump(mode="json"))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
