"""Tokens that a text encoder does not know, and settings that are not there, are refused."""

import pytest

from zsd_ray.models.registry import check_model
from zsd_ray.spec.errors import UserError

SD, T5 = "stable-diffusion-epsilon", "pixart-sigma"
TOKENIZERS = [
    (SD, "tokenizer"),
    ("sdxl-euler", "tokenizer_2"),
    ("sd3-t5", "tokenizer_3"),
    ("flux-dev", "tokenizer"),
    (T5, "tokenizer"),
    ("deepfloyd-if-stage-1", "tokenizer"),
]


def refusal(call, *inputs):
    with pytest.raises(UserError) as caught:
        call(*inputs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("kind", "part"), TOKENIZERS)
def test_a_tokenizer_without_its_settings_is_refused(kind, part, copied):
    folder, config, _ = copied(kind)
    (folder / part / "tokenizer_config.json").unlink()
    said = refusal(check_model, config)
    assert f"{part}/tokenizer_config.json is missing; take another copy" in said
