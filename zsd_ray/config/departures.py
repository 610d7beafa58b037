"""The differences between a run's settings and the preset that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zsd_ray.config.run import RunConfig, parse_config

_FILLED_IN = ("grid_points", "grid_stages", "profile", "fitted")
"""Keys that follow from others, or that a weighting's name stands for."""


def departures(config: Mapping[str, Any]) -> list[str]:
    """Return keys of a resolved configuration that differ from its preset: "pruning.alpha 0.01".

    For another rule than the preset's, only its name is given.
    """
    tree = {name: config[name] for name in ("preset", "data") if name in config}
    as_named = parse_config(RunConfig, tree, saved=True).model_dump(mode="json")
    found = []
    for section in ("method", "pruning"):
        own, expected = config.get(section, {}), as_named[section]
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
