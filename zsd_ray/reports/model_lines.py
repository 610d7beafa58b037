"""The output of `zsd-ray models` and `zsd-ray check-model`."""

from __future__ import annotations

from collections.abc import Mapping

from zsd_ray.config.algorithms import ALGORITHMS
from zsd_ray.config.family import Family
from zsd_ray.config.method_table import ADDED_METHODS
from zsd_ray.reports.lines import Rows, aligned

_TAKES = {
    "text": "prompts",
    "labels": "its own labels",
    "either": "prompts or labels, as the class says",
}


def family_lines(families: Mapping[str, Family]) -> str:
    """Return a paragraph per family: description, method, class input, an example."""
    paragraphs = []
    for name, family in families.items():
        rows = [
            ("  method", family.method),
            *([("  algorithms", _algorithms(family))] if family.method != "classifier" else []),
            ("  classes by", _TAKES[family.takes]),
            ("  example", f"model: {family.example}"),
        ]
        if family.prompt_tokens:
            rows.insert(-1, ("  tokens", f"at most {family.prompt_tokens}"))
        if family.keys:
            rows.insert(-1, ("  own keys", ", ".join(family.keys)))
        paragraphs.append(f"{name}: {family.about}\n{aligned(rows)}")
    return "\n\n".join(paragraphs)


def methods_of(family: Family) -> list[str]:
    """Return the values of `method.name` for this family's models."""
    if family.method == "classifier":
        return [family.method]
    able = [
        name
        for name, section in (*ALGORITHMS.items(), *ADDED_METHODS.items())
        if section(name=name).needs <= set(family.abilities)
    ]
    return [family.method, *able]


def _algorithms(family: Family) -> str:
    able = methods_of(family)
    missing = [name for name in ALGORITHMS if name not in able]
    own = f"all but {', '.join(missing)}" if missing else "all seven"
    return ", ".join([own, *(name for name in ADDED_METHODS if name in able)])


def check_rows(difference: float, n_agree: int, n_images: int, dtype: str) -> Rows:
    """Return the rows of a check of a model's numbers."""
    return [
        ("compared", f"{dtype}, as a run scores, with float32, each row by itself"),
        ("largest change of a paired difference", f"{difference:.2g} of the image's largest"),
        ("images decided alike", f"{n_agree} of {n_images}"),
    ]
