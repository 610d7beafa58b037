"""A saved probe of ten labels on a block of a tiny DDPM, with random weights."""

import numpy as np

from tests.support.tiny_models.pixel_unet import ddpm
from zsd_ray.models.files.probe_files import ProbeFile, weights_file

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def probe(folder, t=0.2):
    ddpm(folder / "model", num_class_embeds=None)
    file = ProbeFile(
        model={"family": "ddpm", "path": str(folder / "model")},
        t=t,
        block="mid",
        pooling={"grid": 2},
        prompt="",
        seed=3,
        labels=NAMES,
        fitted={},
    )
    rng = np.random.default_rng(0)
    weights = weights_file(np.arange(10), rng.normal(size=(10, 16 * 4)), rng.normal(size=10))
    (folder / "probe").mkdir()
    (folder / "probe" / "probe.safetensors").write_bytes(weights)
    (folder / "probe" / "probe.json").write_text(file.to_json())
    return ["two", "nine", "zero"], {"path": str(folder / "probe")}
