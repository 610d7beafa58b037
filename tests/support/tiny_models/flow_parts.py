"""Random parts that pipelines of flow matching share: CLIP, T5, VAE and scheduler."""

from zsd_ray.models.torchvision_ops import declare_missing_operators
from zsd_ray.models.untrained.tiny_stable_diffusion import build_tokenizer

declare_missing_operators()  # before diffusers or transformers are imported
CAPTIONS = ["a photo of a cat.", "a photo of a dog.", "a drawing of a dog"]
PROMPTS = ["a photo of a cat.", "a drawing of a dog", ""]
T5_WIDTH = 48


def clip(width, projection=None, n_layers=3, initializer_factor=10.0):
    """A tokenizer and text encoder; with a projection, of the class that has one."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = build_tokenizer(CAPTIONS, 12)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        max_position_embeddings=12,
        projection_dim=projection or width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_factor=initializer_factor,  # at 1 all prompts are nearly alike
    )
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    return tokenizer, kind(config)


def t5():
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    words = sorted({word for caption in CAPTIONS for word in caption.split()})
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    tokenizer = T5TokenizerFast(vocab=vocab + [(f"▁{word}", -2.0) for word in words], extra_ids=0)
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=T5_WIDTH,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )
    return tokenizer, encoder


def vae():
    """Halves the sides; with a shift, as pipelines of flow matching have."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=16,
        scaling_factor=1.5305,
        shift_factor=0.3,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def scheduler():
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0)
