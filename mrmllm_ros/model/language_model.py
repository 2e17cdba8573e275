# SPDX-License-Identifier: Apache-2.0
"""A causal language model of `transformers` with its tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Cache,
    DynamicCache,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from mrmllm_ros.compute import Compute
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.adapters import merge_adapters
from mrmllm_ros.model.checkpoint import checkpoint_digest, read_config, read_weights
from mrmllm_ros.model.int8_graph import unsupported
from mrmllm_ros.model.int8_language_model import Int8Cache, Int8CausalLM
from mrmllm_ros.model.model_settings import LanguageModelSettings
from mrmllm_ros.model.quantization import load_int8
from mrmllm_ros.weights.pretrained import (
    fingerprint,
    load_weights,
    loading,
    resolve,
    revision,
)


class LanguageModelError(MrmllmError):
    """A language model cannot be loaded."""


class LanguageModel:
    """A frozen language model with tokenizer and chat template.

    Attributes:
        model: The model, without gradients.
        tokenizer: Tokenizer with a chat template.
        name: Name of the model, for messages, logs and checkpoints.
        revision: Revision of its weights; empty if unknown.
        has_adapters: Whether the adapters of a checkpoint are merged into the weights.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        revision: str = "",
        has_adapters: bool = False,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = Path(model.name_or_path).name
        self.revision = revision
        self.has_adapters = has_adapters
        self._blank = special_token_blanker(tokenizer)
        self._embedded: dict[str, torch.Tensor] = {}

    @classmethod
    def load(
        cls, settings: LanguageModelSettings, compute: Compute, checkpoint: str = ""
    ) -> LanguageModel:
        """Load the language model that the settings name.

        Args:
            settings: Settings of the language model.
            compute: Device and precision.
            checkpoint: MR-MLLM checkpoint with adapters to merge; empty for none.

        Raises:
            LanguageModelError: If the model cannot be found, loaded or quantized.
            CheckpointError: If the checkpoint cannot be read.
            WeightsError: If an embedded model is missing or damaged.
        """
        named = ("language model", settings.model, "language_model.model", LanguageModelError)
        source = resolve(*named)
        options = {
            "trust_remote_code": settings.trust_remote_code,
            "local_files_only": Path(source).is_dir(),
        }
        has_adapters = bool(checkpoint and read_config(checkpoint).lora_rank)

        def load_float(dtype: torch.dtype) -> PreTrainedModel:
            model = load_weights(AutoModelForCausalLM, source, dtype=dtype, **options)
            clear_generation_config(model)
            if has_adapters:
                merge_adapters(model, read_config(checkpoint), read_weights(checkpoint))
            return model

        with loading(*named):
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            if _uses_int8(settings, compute, source, options):
                adapters = checkpoint_digest(checkpoint) if has_adapters else ""
                model = load_int8(
                    Path(source).name,
                    f"{fingerprint(settings.model)}\n{adapters}",
                    compute.threads,
                    lambda: load_float(torch.float32),
                )
                model.name_or_path = source
            else:
                model = load_float(compute.dtype).to(compute.device)
                if settings.quantization == "int8":
                    quantize_weights(model)
        if tokenizer.chat_template is None:
            raise LanguageModelError(
                f"the language model {settings.model!r} has no chat template; name one that is "
                "tuned to follow instructions with the parameter language_model.model"
            )
        return cls(model, tokenizer, revision(settings.model), has_adapters)

    @property
    def is_quantized(self) -> bool:
        """Whether its arithmetic is int8: no training, and no masks other than (B, T)."""
        return isinstance(self.model, Int8CausalLM)

    def new_cache(self) -> Cache:
        """Create an empty key-value cache for one text."""
        if self.is_quantized:
            return Int8Cache(self.model.config)
        return DynamicCache(config=self.model.config)

    @property
    def width(self) -> int:
        """Size d_llm of its hidden states."""
        return self.model.get_input_embeddings().embedding_dim

    @property
    def context_length(self) -> int | None:
        """Maximum number of tokens of prompt and answer, or None if unknown."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)

    def render(self, messages: list[dict[str, str]]) -> str:
        """Render a conversation with the chat template, up to the start of the answer.

        Args:
            messages: Messages with `role` and `content`.
        """
        try:
            return self._render(messages)
        except TemplateError:
            if messages[0]["role"] != "system":
                raise
            # Templates without system messages: prepend it to the user's first message.
            system, first, *rest = messages
            content = f"{system['content']}\n{first['content']}"
            return self._render([{**first, "content": content}, *rest])

    def _render(self, messages: list[dict[str, str]]) -> str:
        return self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )

    def plain(self, text: str) -> str:
        """Remove special tokens, so that no question or label can end a turn."""
        return self._blank(text)

    def tokenize(self, text: str) -> torch.Tensor:
        """Tokenize a rendered text: (T,) int64 on the device."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=torch.int64, device=self.model.device)

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text, without special tokens."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    # The cached tensors are used in training too, where inference tensors are not allowed.
    @torch.inference_mode(False)
    @torch.no_grad()
    def embed_texts(self, texts: tuple[str, ...] | list[str]) -> torch.Tensor:
        """Mean token embedding of each text, which works for any vocabulary.

        Args:
            texts: V short texts, such as labels.

        Returns:
            (V, d_llm) in the model's precision.
        """
        embeddings = self.model.get_input_embeddings()
        for text in texts:
            if text not in self._embedded:
                # With a leading space, as within a sentence, the tokens differ.
                ids = self.tokenize(" " + self.plain(text))
                self._embedded[text] = embeddings(ids).mean(0)
        if not texts:
            return torch.zeros(0, self.width, dtype=self.model.dtype, device=self.model.device)
        return torch.stack([self._embedded[text] for text in texts])


def _uses_int8(
    settings: LanguageModelSettings, compute: Compute, source: str, options: dict[str, Any]
) -> bool:
    """Whether to load the int8 form for a CPU; `auto` is resolved for device and model.

    Raises:
        LanguageModelError: If int8 is not possible.
    """
    if settings.quantization == "none":
        return False
    if compute.device.type != "cpu":
        return False
    if compute.dtype != torch.float32:
        reason = "compute.precision is not float32"
    else:
        reason = unsupported(AutoConfig.from_pretrained(source, **options).get_text_config())
    if reason and settings.quantization == "int8":
        raise LanguageModelError(
            f"language_model.quantization: int8 is not possible for {settings.model!r}: {reason}; "
            "use auto or none"
        )
    return not reason


def quantize_weights(model: PreTrainedModel) -> None:
    """Quantize the weights of linear layers to int8 with torchao, in place; for CUDA.

    Raises:
        LanguageModelError: If torchao is not installed.
    """
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise LanguageModelError(
            f"language_model.quantization: int8 on CUDA needs torchao ({error}); install it with "
            "pip install torchao, or use auto or none"
        ) from error
    quantize_(model, Int8WeightOnlyConfig())


def clear_generation_config(model: PreTrainedModel) -> None:
    """Remove a model's generation settings other than the special tokens.

    Many models come with penalties and sampling settings, which would change `Decoding`.

    Args:
        model: Any model with `generate`.
    """
    own = model.generation_config
    model.generation_config = GenerationConfig(
        bos_token_id=own.bos_token_id, eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id
    )


def special_token_blanker(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], str]:
    """Create a function that replaces special tokens in a text by blanks.

    No question or label may end a turn or stand for an image.
    """
    tokens = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    if not tokens:
        return lambda text: text
    longest_first = sorted(tokens, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(" ", text)
