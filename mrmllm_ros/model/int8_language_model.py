# SPDX-License-Identifier: Apache-2.0
"""Causal language model with int8 weights, run by ONNX Runtime on a processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoConfig,
    Cache,
    GenerationConfig,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from mrmllm_ros.compute import onnx_session_options
from mrmllm_ros.model.int8_graph import write_decoder, write_head

_DECODER, _HEAD, _EMBEDDINGS = "decoder.onnx", "lm_head.onnx", "embeddings.safetensors"
# Tokens of one run of the graph. Attention also computes the masked half of its square, which
# grows with the number of tokens.
_PREFILL_TOKENS = 128
# Tokens of room that a copied or enlarged cache has.
_ROOM = 192


class Int8Cache(Cache):
    """Keys and values of all layers, with room for further tokens.

    Texts of a batch have no padding: a masked token is not stored.

    Attributes:
        lengths: Number of stored tokens of each text.
        states: (L, 2, B, H, capacity, d_head) float32 keys and values.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        """Create an empty cache for one text.

        Args:
            config: Configuration of the language model.
        """
        super().__init__(layers=[])
        heads = config.num_key_value_heads
        size = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.lengths = [0]
        self.states = torch.empty(config.num_hidden_layers, 2, 1, heads, 0, size)
        self._tokens = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Int8Cache:
        copied = object.__new__(Int8Cache)
        copied.__dict__.update(self.__dict__, lengths=list(self.lengths))
        copied._resize(max(self.lengths) + _ROOM)
        return copied

    @property
    def is_compileable(self) -> bool:
        """See `Cache`."""
        return False

    @property
    def nbytes(self) -> int:
        """Bytes of the stored tokens."""
        return self.states[..., : max(self.lengths), :].nbytes

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Number of tokens so far, with masked ones."""
        return self._tokens

    def reserve(self, tokens: int) -> None:
        """Count further tokens and make room for them."""
        self._tokens += tokens
        needed = max(self.lengths) + tokens
        if needed > self.states.shape[-2]:
            self._resize(needed + _ROOM)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """See `Cache`."""
        self.states = self.states.repeat_interleave(repeats, dim=2)
        self.lengths = [length for length in self.lengths for _ in range(repeats)]

    def batch_select_indices(self, indices: Sequence[int]) -> None:
        """See `Cache`."""
        self.states = self.states[:, :, list(indices)]
        self.lengths = [self.lengths[index] for index in indices]

    def _resize(self, capacity: int) -> None:
        stored = self.states[..., : max(self.lengths), :]
        self.states = stored.new_empty((*stored.shape[:-2], capacity, stored.shape[-1]))
        self.states[..., : stored.shape[-2], :] = stored


class Int8Decoder(nn.Module):
    """Decoder layers without output embeddings.

    Attributes:
        embed_tokens: Input embeddings, float32.
    """

    def __init__(self, folder: Path, config: PreTrainedConfig, threads: int) -> None:
        """Load the graph of `write_int8`.

        Args:
            folder: The folder.
            config: Configuration of the language model.
            threads: Number of threads; 0 for ONNX Runtime's default.
        """
        super().__init__()
        self.config = config
        # Mapped into memory: only embeddings that are used are read.
        weight = load_file(folder / _EMBEDDINGS)["weight"]
        self.embed_tokens = nn.Embedding.from_pretrained(weight)
        self._session = _session(folder / _DECODER, threads)
        names = [(f"past.{i}.{x}", f"present.{i}.{x}") for i, x in _layer_states(config)]
        self._past, self._present = zip(*names, strict=True)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Int8Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
    ) -> BaseModelOutputWithPast:
        """Process T new tokens of B texts.

        Args:
            input_ids: (B, T) int64, or None with `inputs_embeds`.
            attention_mask: (B, past + T) over all tokens of `past_key_values` and the new ones;
                None if all are present.
            position_ids: Ignored; tokens have the positions that they have without masked ones.
            past_key_values: Cache; the new tokens are appended. None for a temporary one.
            inputs_embeds: (B, T, d) float32.
            use_cache: Ignored.

        Raises:
            TypeError: If the cache has another type, or the mask is not two-dimensional.
        """
        embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        batch, tokens = embeds.shape[:2]
        cache = Int8Cache(self.config) if past_key_values is None else past_key_values
        if not isinstance(cache, Int8Cache):
            raise TypeError(f"the cache is a {type(cache).__name__}, not an Int8Cache")
        if attention_mask is None:
            attention_mask = torch.ones(batch, tokens)
        if attention_mask.ndim != 2:
            raise TypeError("int8 language models take masks (B, T) only")
        if len(cache.lengths) < batch:
            cache.batch_repeat_interleave(batch)
        cache.reserve(tokens)
        present = attention_mask[:, attention_mask.shape[1] - tokens :].bool()
        if tokens == 1 and present.all():
            hidden = self._decode(embeds, cache)
        else:
            hidden = torch.zeros_like(embeds)
            for row in range(batch):
                hidden[row, present[row]] = self._prefill(embeds[row, present[row]], cache, row)
        return BaseModelOutputWithPast(last_hidden_state=hidden, past_key_values=cache)

    def _decode(self, embeds: torch.Tensor, cache: Int8Cache) -> torch.Tensor:
        """Process the next token of every text: (B, 1, d)."""
        hidden = self._run(embeds, cache.lengths, cache.states)
        cache.lengths = [length + 1 for length in cache.lengths]
        return hidden

    def _prefill(self, embeds: torch.Tensor, cache: Int8Cache, row: int) -> torch.Tensor:
        """Process several tokens of one text: (T, d)."""
        states = cache.states[:, :, row : row + 1]
        hidden = [embeds[:0]]
        for part in embeds.split(_PREFILL_TOKENS):
            if len(part):
                hidden.append(self._run(part[None], cache.lengths[row : row + 1], states)[0])
                cache.lengths[row] += len(part)
        return torch.cat(hidden)

    def _run(
        self, embeds: torch.Tensor, lengths: Sequence[int], states: torch.Tensor
    ) -> torch.Tensor:
        """Run the graph, which writes keys and values in place.

        Args:
            embeds: (B, T, d) new tokens.
            lengths: Number of stored tokens of each text.
            states: (L, 2, B, H, capacity, d_head) keys and values.
        """
        tokens = embeds.shape[1]
        embeds = embeds.contiguous()
        hidden = torch.empty_like(embeds)
        last = torch.tensor([length + tokens - 1 for length in lengths], dtype=torch.int32)
        total = torch.tensor(max(lengths) + tokens, dtype=torch.int32)
        binding = self._session.io_binding()
        _bind(binding.bind_input, "embeddings", embeds)
        _bind(binding.bind_input, "past_lengths", last)
        _bind(binding.bind_input, "total_length", total)
        _bind(binding.bind_output, "hidden_states", hidden)
        for past, present, state in zip(
            self._past, self._present, states.flatten(0, 1), strict=True
        ):
            _bind(binding.bind_input, past, state)
            _bind(binding.bind_output, present, state)
        self._session.run_with_iobinding(binding)
        return hidden


class Int8CausalLM(PreTrainedModel, GenerationMixin):
    """Causal language model for inference on a processor; see `int8_graph` for its arithmetic.

    Its caches are `Int8Cache`.
    """

    base_model_prefix = "model"

    def __init__(self, folder: Path, threads: int) -> None:
        """Load a model that `write_int8` has written.

        Args:
            folder: The folder.
            threads: Number of threads; 0 for ONNX Runtime's default.
        """
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        super().__init__(config)
        self.model = Int8Decoder(folder, config, threads)
        self._head = _session(folder / _HEAD, threads)
        self.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)

    def get_input_embeddings(self) -> nn.Embedding:
        """Input embeddings, float32."""
        return self.model.embed_tokens

    def forward(
        self, *args: Any, logits_to_keep: int = 0, return_dict: bool = True, **kwargs: Any
    ) -> CausalLMOutputWithPast:
        """Compute logits.

        Args:
            args: See `Int8Decoder.forward`.
            logits_to_keep: Number of last tokens with logits; 0 for all.
            return_dict: Ignored.
            kwargs: See `Int8Decoder.forward`.
        """
        output = self.model(*args, **kwargs)
        hidden = output.last_hidden_state[:, -logits_to_keep:].contiguous()
        [logits] = self._head.run(None, {"hidden_states": hidden.numpy()})
        return CausalLMOutputWithPast(
            logits=torch.from_numpy(logits), past_key_values=output.past_key_values
        )


def write_int8(model: PreTrainedModel, folder: Path) -> None:
    """Quantize a language model and write it.

    Args:
        model: Causal language model in float32, without adapters.
        folder: Existing folder.
    """
    write_decoder(model, folder / _DECODER)
    write_head(model, folder / _HEAD)
    weight = model.get_input_embeddings().weight.detach().contiguous()
    save_file({"weight": weight}, folder / _EMBEDDINGS)
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        path, onnx_session_options(threads), providers=["CPUExecutionProvider"]
    )


def _layer_states(config: PreTrainedConfig) -> list[tuple[int, str]]:
    """Layers and kinds of states, in the order of `Int8Cache.states`."""
    return [(i, kind) for i in range(config.num_hidden_layers) for kind in ("key", "value")]


def _bind(bind: Any, name: str, tensor: torch.Tensor) -> None:
    """Bind the memory of a contiguous tensor to an input or output."""
    kind = np.int32 if tensor.dtype == torch.int32 else np.float32
    bind(name, "cpu", 0, kind, tuple(tensor.shape), tensor.data_ptr())
