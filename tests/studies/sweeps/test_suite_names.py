"""What a suite names twice would be a cell twice, and count twice in means and lines."""

from __future__ import annotations

from typing import Any

import pytest

from zsd_ray.config.run import parse_config
from zsd_ray.records.errors import UserError
from zsd_ray.studies.sweeps.suite_config import SuiteConfig

SUITE: dict[str, Any] = {
    "title": "T",
    "models": {"a": {}, "b": {}},
    "datasets": {"d": {}, "e": {}},
    "output": {"path": "runs/suite"},
}
TWICE: dict[str, dict[str, Any]] = {
    "strengths": {"corruptions": {"of": ["d"], "kinds": ["jpeg"], "strengths": [1, 1]}},
    "kinds": {"corruptions": {"of": ["d"], "kinds": ["jpeg", "jpeg"]}},
    "of": {"corruptions": {"of": ["d", "d"], "kinds": ["jpeg"]}},
    "ood": {"robustness": {"id": "d", "ood": ["e", "e"], "baselines": ["a", "b"]}},
    "baselines": {"robustness": {"id": "d", "ood": ["e"], "baselines": ["a", "a"]}},
    "datasets": {"models": {"a": {"datasets": ["d", "d"]}}},
}


@pytest.mark.parametrize("key", TWICE)
def test_what_is_named_twice_is_refused(key: str) -> None:
    with pytest.raises(UserError, match=rf"{key}: names .* more than once"):
        parse_config(SuiteConfig, SUITE | TWICE[key], "suite.yaml")


def test_what_is_named_once_is_taken() -> None:
    corruptions = {"of": ["d", "e"], "kinds": ["jpeg", "contrast"], "strengths": [1, 5]}
    parse_config(SuiteConfig, SUITE | {"corruptions": corruptions}, "suite.yaml")
