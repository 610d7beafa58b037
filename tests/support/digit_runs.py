"""A small run of digits, and the numbers of its rows that nothing may change."""

from pathlib import Path

from tests.support import digit_means
from zsd_ray.config.run import RunConfig, parse_config

LIMIT = 40
NUMBERS = ("prediction", "draws_per_class", "mean_scores", "n_draws", "n_evaluations", "error")
PAPER = {"weighting": "heuristic", "timesteps": "uniform", "t_range": [0.02, 0.98]}
"""The method of Clark & Jaini."""

MEANS = {
    "model": {
        "family": "custom",
        "path": f"{Path(digit_means.__file__)}:DigitMeans",
        "kwargs": {"delay": 0.05},
    },
}
"""A section for a model that workers load at once, and that takes a while over each batch."""


def configure(path, **sections):
    tree = {
        "prompts": {"templates": ["a photo of the digit {}."]},
        "data": {"limit": LIMIT},
        "method": PAPER,
        "pruning": {"rule": "clark-jaini", "min_scores": 12, "max_scores": 60, "p_value": 0.01},
        "tracking": {"mlflow": "off"},
        "output": {"path": str(path), "flush_seconds": 0.2},
    }
    return parse_config(RunConfig, {**tree, **sections})


def numbers(table):
    rows = table.to_pylist()
    found = {row["image_id"]: {name: row[name] for name in NUMBERS} for row in rows}
    assert len(found) == len(rows), "an image has two rows"
    return found
