"""Accuracy of the built-in model: the 500 held-out digits, and MNIST, which it never saw.

    python benchmarks/accuracy.py [--mnist FOLDER] [--mnist-images N] [--quick] [--json]

FOLDER holds MNIST's t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. Both sets are
classified by configs/digits.yaml with the paper's rule; MNIST's pictures are resized from 28 to 32.
--quick takes 2 of the digits, few draws and no Ray.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import zsd_ray
from zsd_ray.config.run import RunConfig, load_config

CONFIG = Path(__file__).parent.parent / "configs" / "digits.yaml"


def mnist_parquet(folder: Path, target: Path) -> None:
    """Write MNIST's test images as PNG in a Parquet file with image and label columns."""
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read()[8:], np.uint8)
    encoded = []
    for pixels in images:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    table = pa.table({"image": encoded, "label": labels.astype(np.int64)})
    pq.write_table(table, target, row_group_size=500)


QUICK = ("data.limit=2", "pruning.min_scores=4", "pruning.max_scores=8")


def measure(name: str, *overrides: str, local: bool = False) -> dict[str, Any]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        config = load_config(
            RunConfig, CONFIG, [*overrides, "tracking.mlflow=off", f"output.path={folder}"]
        )
        metrics = zsd_ray.run(config, local=local).metrics
    kept = ("images", "accuracy", "accuracy_low", "accuracy_high", "evaluations_per_image")
    return {"data": name} | {key: metrics[key] for key in (*kept, "seconds")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mnist", type=Path, metavar="FOLDER")
    parser.add_argument("--mnist-images", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="2 digits, in this process")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    chosen = QUICK if options.quick else ("data.limit=null",)
    rows = [measure("digits, held out", *chosen, local=options.quick)]
    if options.mnist is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mnist-test.parquet"
            mnist_parquet(options.mnist, path)
            source = f"data={{source: parquet, path: {path}, limit: {options.mnist_images}}}"
            rows.append(measure("MNIST test", source))
    if options.json:
        print(json.dumps({"rows": rows}))
        return
    print(f"{'data':18}{'images':>8}{'accuracy':>10}{'95 % interval':>20}{'evaluations/image':>20}")
    for row in rows:
        interval = f"[{row['accuracy_low']:.1%}, {row['accuracy_high']:.1%}]"
        print(
            f"{row['data']:18}{row['images']:8,}{row['accuracy']:10.1%}{interval:>20}"
            f"{row['evaluations_per_image']:20,.1f}"
        )


if __name__ == "__main__":
    main()
