"""The settings that can be changed with saved scores: the rule, and the weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.config.time_profile import TimeProfile
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.profile_file import read_profile
from zsd_ray.settings.tree import apply_override
from zsd_ray.storage.store import Store

_METHOD_KEYS = ("weighting", "profile")


def changed(
    config: RunConfig,
    weighting: str | None,
    rule: str | None,
    overrides: Sequence[str],
    store: Store,
) -> RunConfig:
    """Return the configuration of a run with another weighting or rule.

    A rule that is not the run's own starts from its own defaults.

    Args:
        weighting: like method.weighting; rule: like pruning.rule. None: the run's own.
        overrides: `pruning.KEY=VALUE`, `method.weighting=NAME` or `method.profile=FILE`.
        store: how that file is reached.

    Raises:
        UserError: saved scores do not support the settings, or they are invalid.
    """
    asked: dict[str, Any] = {}
    for override in overrides:
        apply_override(asked, override)
    if rule is not None:
        apply_override(asked, f"pruning.rule={rule}")
    if weighting is not None:
        apply_override(asked, f"method.weighting={weighting}")
    for section, keys in asked.items():
        if section not in ("pruning", "method") or not isinstance(keys, Mapping):
            raise UserError(
                "--set takes pruning.KEY=VALUE, method.weighting=NAME or method.profile=FILE here, "
                f"but came with {section!r}; what else a run has is in its scores already"
            )
    tree = config.model_dump(mode="json")
    own, pruning = tree["pruning"], asked.get("pruning", {})
    # Keys of one rule mean nothing to another.
    tree["pruning"] = own | pruning if pruning.get("rule", own["rule"]) == own["rule"] else pruning
    tree["method"] = _method(config, asked.get("method", {}), store)
    return parse_config(RunConfig, tree, "the settings of the replay", saved=True)


def with_profile(
    config: RunConfig, weighting: Literal["standardised", "learned"], profile: TimeProfile
) -> RunConfig:
    """Like `changed`, but with a weighting whose profile is not in a file yet."""
    fitted = config.draw_method.model_dump(mode="json") | {
        "weighting": weighting,
        "profile": None,
        "fitted": profile.model_dump(mode="json"),
    }
    tree = config.model_dump(mode="json") | {"method": fitted}
    return parse_config(RunConfig, tree, "the settings of the replay", saved=True)


def _method(config: RunConfig, asked: Mapping[str, Any], store: Store) -> dict[str, Any]:
    fixed = [key for key in asked if key not in _METHOD_KEYS]
    if fixed:
        raise UserError(
            f"method.{fixed[0]} is in the saved scores and cannot change in a replay; only "
            f"{' and '.join(f'method.{key}' for key in _METHOD_KEYS)} can"
        )
    if not isinstance(config.method, DiffusionClassifierMethod):
        raise UserError(
            f"a run of method {config.method.name} cannot be replayed: its scores have no "
            "weighting, and no rule but its own; run it again with other settings"
        )
    method = config.method.model_dump(mode="json") | {"profile": None}
    if config.method.of_classifier:
        if asked:
            raise UserError(
                "a classifier's scores have no weighting; leave out method and --weighting"
            )
        return method
    file = asked.get("profile")
    if file is not None:
        profile = read_profile(str(file), store)
        if profile is None:
            raise UserError(f"there is no profile at {redact(str(file))}; `zsd-ray fit` makes one")
        method["fitted"] = profile.model_dump(mode="json")
    method["weighting"] = asked.get("weighting", method["weighting"])
    if method["weighting"] not in ("standardised", "learned"):
        if method["timesteps"] != "importance":
            method["fitted"] = None
    elif method["fitted"] is None:
        raise UserError(
            f"weighting {method['weighting']} needs a profile: `zsd-ray fit {method['weighting']} "
            "RUN` makes one; name it with --set method.profile=FILE"
        )
    return method
