"""The names of the blocks of a network, from its configuration alone: nothing is loaded."""

from __future__ import annotations

from pathlib import Path

from zsd_ray.models.files.model_json import read_object


def block_names(folder: Path) -> list[str]:
    """Return the block names of a checked pipeline folder's network, in running order: the keys of
    `features` (models/denoiser.py)."""
    unet = folder / "unet" / "config.json"
    if unet.is_file():
        config = read_object(unet)
        down = [f"down.{n}" for n in range(len(config["down_block_types"]))]
        up = [f"up.{n}" for n in range(len(config["up_block_types"]))]
        # Of a key that is missing the library has a default, which is a block.
        middle = ["mid"] if config.get("mid_block_type", True) else []
        return [*down, *middle, *up]
    config = read_object(folder / "transformer" / "config.json")
    # FLUX has a second kind of layers behind the first.
    n_layers = config["num_layers"] + config.get("num_single_layers", 0)
    return [f"layer.{n}" for n in range(n_layers)]
