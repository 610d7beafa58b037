"""Each of a model's abilities by its configuration alone, as tests want one at a time."""

from zsd_ray.models.registry import resolve_model


def check_model(config):
    return resolve_model(config).folder


def fingerprint(config):
    return resolve_model(config).fingerprint


def check_prompts(config, prompts):
    resolve_model(config).check_prompts(prompts)


def check_null_prompt(config, *settings):
    resolve_model(config).check_null_prompt(*settings)


def load_model(config):
    return resolve_model(config).load()


def encode_prompts(config, prompts):
    return resolve_model(config).encode_prompts(prompts)


def load_prompt_encoder(config):
    return resolve_model(config).load_prompt_encoder()


def hashed(config):
    return resolve_model(config).hashed
