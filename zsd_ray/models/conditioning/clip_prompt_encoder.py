"""CLIP's text encoder and tokenizer, kept: for methods that make prompts as they go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files.components import (
    chunks,
    load_text_encoder,
    load_tokenizer,
    placed,
    tokenized,
)
from zsd_ray.records.errors import UserError

_SLOT = "{}"


class ClipPromptEncoder:
    """A `PromptEncoder` over a CLIPTextModel, in float32, and its CLIPTokenizer.

    Shapes: B and N prompts, K names, L tokens that the encoder reads, D numbers per token.
    """

    def __init__(self, folder: Path, config: ModelConfig, device: torch.device) -> None:
        """Load `text_encoder` and `tokenizer` of a pipeline folder."""
        self.device = device
        self._tokenizer = load_tokenizer("CLIPTokenizer", folder / "tokenizer")
        encoder = load_text_encoder("CLIPTextModel", folder / "text_encoder", config, torch.float32)
        self._encoder = placed(encoder, device)
        self._length: int = min(
            self._tokenizer.model_max_length, encoder.config.max_position_embeddings
        )

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        """`hidden`: last hidden states (N, L, D) of prompts cut or padded to L tokens."""
        parts = []
        for some in chunks(prompts):
            tokens = tokenized(self._tokenizer, some, self._length)
            parts.append(self._hidden(tokens.input_ids))
        return {"hidden": torch.cat(parts)}

    def places(self, prompt: str, spans: Sequence[tuple[int, int]]) -> list[list[int]] | None:
        """Token 0 is the start of the prompt. A token that is only partly in a span (it may include
        the punctuation that follows) counts as in it."""
        tokens = self._tokenizer(prompt, return_offsets_mapping=True, verbose=False)
        if len(tokens.input_ids) > self._length:
            return None
        return [
            [
                number
                for number, (start, stop) in enumerate(tokens.offset_mapping)
                if start < min(stop, last) and stop > first
            ]
            for first, last in spans
        ]

    @torch.no_grad()
    def name_embeddings(self, names: Sequence[str]) -> torch.Tensor:
        """Return the mean input embedding of each name's tokens, (K, D) float32."""
        weight = self._encoder.get_input_embeddings().weight
        means = [weight[self._tokens(name)].mean(dim=0) for name in names]
        return torch.stack(means).to(self.device)

    @torch.no_grad()
    def name_outputs(self, names: Sequence[str]) -> torch.Tensor:
        """Return the mean last hidden state of each name's tokens, (K, D) float32; a name that is
        too long is cut."""
        hidden = self.encode(names)["hidden"]
        lengths = [min(len(self._tokens(name)), self._length - 2) for name in names]
        return torch.stack(
            [of[1 : 1 + length].mean(dim=0) for of, length in zip(hidden, lengths, strict=True)]
        )

    @torch.no_grad()
    def learned_outputs(self, embedding_BD: torch.Tensor) -> torch.Tensor:
        """Return the last hidden states of tokens that follow the start of a prompt, (B, D)
        float32."""
        return self.encode_learned(_SLOT, embedding_BD)["hidden"][:, 1]

    def encode_learned(self, template: str, embedding_BD: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return `hidden`, (B, L, D), of B copies of a template whose `{}` is one given token each.

        Raises:
            UserError: the template is longer than the encoder reads.
        """
        before, _, after = template.partition(_SLOT)
        tokenizer = self._tokenizer
        ids = [tokenizer.bos_token_id, *self._tokens(before)]
        slot = len(ids)
        # Which token stands in the slot is without effect.
        ids += [tokenizer.bos_token_id, *self._tokens(after), tokenizer.eos_token_id]
        n_padding = self._length - len(ids)
        if n_padding < 0:
            raise UserError(
                f"prompts.templates {template!r} takes {len(ids)} tokens, and this text encoder "
                f"reads {self._length}; shorten it"
            )
        ids += [tokenizer.pad_token_id] * n_padding

        def put_in(module: Any, inputs: Any, output_BLD: torch.Tensor) -> torch.Tensor:
            learned = embedding_BD.to(output_BLD)[:, None]
            return torch.cat([output_BLD[:, :slot], learned, output_BLD[:, slot + 1 :]], dim=1)

        # The model takes ids only; a hook leaves the rest of its forward as it is.
        hook = self._encoder.get_input_embeddings().register_forward_hook(put_in)
        try:
            hidden = self._hidden(torch.tensor([ids] * len(embedding_BD)))
        finally:
            hook.remove()
        return {"hidden": hidden}

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return ids

    def _hidden(self, ids_BL: torch.Tensor) -> torch.Tensor:
        output = self._encoder(ids_BL.to(self._encoder.device))
        hidden: torch.Tensor = output.last_hidden_state.to(self.device)
        return hidden
