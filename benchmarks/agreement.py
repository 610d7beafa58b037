"""Whether decisions depend on how a run was spread: 1 worker, 3 workers, one process, plain replay.

    python benchmarks/agreement.py [--images N] [--quick] [--json]

Runs the demonstration's configuration three times with raw scores and compares every image's
prediction and number of evaluations; then replays Algorithm 1 of Clark & Jaini 2023 from the raw
scores with scipy's t-test, one number at a time (tests/support/replay.py), and compares again.
--quick compares 2 images, with the plain replay only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import zsd_ray
from zsd_ray.config.run import RunConfig, load_config, parse_config
from zsd_ray.rules.clark_jaini import ClarkJainiPruning

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from tests.support import replay  # noqa: E402 - the tests' reference, at the repository's root

WORKERS = {"1 worker": 1, "3 workers": 3}


def decide(config: RunConfig, folder: str, workers: int) -> dict[str, tuple[int, int]]:
    """Prediction and number of evaluations of each image; no workers: in this process."""
    tree = config.model_dump(mode="json")
    tree["output"] |= {"path": folder, "raw_scores": True}
    tree["tracking"]["mlflow"] = "off"
    tree["cluster"]["workers"] = workers or 1
    result = zsd_ray.run(parse_config(RunConfig, tree), local=workers == 0)
    return {
        row["image_id"]: (row["prediction"], row["n_evaluations"])
        for row in result.table.to_pylist()
    }


def replayed(config: RunConfig, folder: str) -> dict[str, tuple[int, int]]:
    """The same by the plain replay of what was saved."""
    rule = config.pruning
    assert isinstance(rule, ClarkJainiPruning)
    by_image: dict[str, list[dict[str, Any]]] = {}
    for row in pq.read_table(f"{folder}/scores").to_pylist():
        by_image.setdefault(row["image_id"], []).append(row)
    n_classes = len(config.prompts.classes or ())
    out = {}
    for image_id, rows in by_image.items():
        found = replay.clark_jaini(
            replay.from_rows(rows), n_classes, rule.min_scores, rule.max_scores, rule.p_value
        )
        out[image_id] = (found.prediction, sum(found.draws_per_class))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="2 images, without Ray")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    images, on_ray = (2, {}) if options.quick else (options.images, WORKERS)
    config = load_config(RunConfig, ROOT / "configs" / "digits.yaml", limit=images)
    with tempfile.TemporaryDirectory() as folder:
        local = decide(config, f"{folder}/local", workers=0)
        others = {name: decide(config, f"{folder}/{n}", n) for name, n in on_ray.items()}
        others["plain replay"] = replayed(config, f"{folder}/local")
    differing = {
        name: sum(local[image_id] != found.get(image_id) for image_id in local)
        for name, found in others.items()
    }
    if options.json:
        print(json.dumps({"images": len(local), "differing": differing}))
        return
    print(f"{len(local)} images in one process; prediction or evaluations differ from that with")
    for name, count in differing.items():
        print(f"  {name:13} {count} images")


if __name__ == "__main__":
    main()
