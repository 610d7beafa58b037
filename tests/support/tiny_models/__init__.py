"""A tiny random model of each family, written in the folder format that users have.

A builder takes a folder that does not exist yet, writes a pipeline with the library's own classes
and `save_pretrained`, and returns prompts (or names of labels) and keys of the section `model`.
"""

from functools import partial

from tests.support.tiny_models.clip import clip_file, clip_folder
from tests.support.tiny_models.custom import custom
from tests.support.tiny_models.deepfloyd_if import deepfloyd_if
from tests.support.tiny_models.dit import dit
from tests.support.tiny_models.flux import flux
from tests.support.tiny_models.pixart import pixart
from tests.support.tiny_models.pixel_unet import ddpm, edm
from tests.support.tiny_models.probe import probe
from tests.support.tiny_models.sd3 import sd3
from tests.support.tiny_models.sdxl import sdxl
from tests.support.tiny_models.stable_diffusion import stable_diffusion
from tests.support.tiny_models.timm_classifier import timm_file, timm_folder

BUILDERS = {
    ("stable-diffusion", "epsilon"): partial(stable_diffusion, prediction="epsilon"),
    ("stable-diffusion", "v"): partial(stable_diffusion, prediction="v_prediction"),
    ("dit", "imagenet"): dit,
    ("ddpm", "labels"): ddpm,
    ("ddpm", "numbers"): partial(ddpm, class_embed_type="timestep"),
    ("edm", "epsilon"): edm,
    ("custom", "labels"): partial(custom, kind="Told"),
    ("custom", "prompts"): partial(custom, kind="Encoding"),
    ("edm", "v"): partial(edm, prediction="v_prediction"),
    ("sd3", "t5"): partial(sd3, with_t5=True),
    ("sd3", "without-t5"): partial(sd3, with_t5=False),
    ("flux", "dev"): partial(flux, guidance_embeds=True),
    ("flux", "schnell"): partial(flux, guidance_embeds=False),
    ("sdxl", "euler"): sdxl,
    ("pixart", "alpha"): partial(pixart, kind="alpha"),
    ("pixart", "sigma"): partial(pixart, kind="sigma"),
    ("deepfloyd-if", "stage-1"): deepfloyd_if,
}
"""(family, kind) -> builder."""

CLASSIFIER_BUILDERS = {
    ("clip", "folder"): clip_folder,
    ("clip", "file"): clip_file,
    ("timm", "folder"): timm_folder,
    ("timm", "file"): timm_file,
    ("probe", "folder"): probe,
}
"""Likewise, of those that are no diffusion models."""

__all__ = [
    "BUILDERS",
    "CLASSIFIER_BUILDERS",
    "clip_folder",
    "ddpm",
    "dit",
    "edm",
    "stable_diffusion",
    "timm_folder",
]
