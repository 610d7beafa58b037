"""A tiny random model of each family, written in the folder format that users have.

A builder takes a folder that does not exist yet, writes a pipeline with the library's own classes
and `save_pretrained`, and returns prompts (or names of labels) and keys of the section `model`.
"""

from functools import partial

from tests.support.tiny_models.stable_diffusion import stable_diffusion

BUILDERS = {
    ("stable-diffusion", "epsilon"): partial(stable_diffusion, prediction="epsilon"),
    ("stable-diffusion", "v"): partial(stable_diffusion, prediction="v_prediction"),
}
"""(family, kind) -> builder."""

__all__ = ["BUILDERS", "stable_diffusion"]
