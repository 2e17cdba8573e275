# SPDX-License-Identifier: Apache-2.0
"""A causal language model of `transformers` with its tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from jinja2 import TemplateError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from mrmllm_ros.compute import Compute
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.model_settings import LanguageModelSettings
from mrmllm_ros.weights.pretrained import load_weights, loading, resolve, revision


class LanguageModelError(MrmllmError):
    """A language model cannot be loaded."""


class LanguageModel:
    """A frozen language model with tokenizer and chat template.

    Attributes:
        model: The model, without gradients.
        tokenizer: Tokenizer with a chat template.
        name: Name of the model, for messages, logs and checkpoints.
        revision: Revision of its weights; empty if unknown.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, revision: str = ""
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = Path(model.name_or_path).name
        self.revision = revision
        self._blank = special_token_blanker(tokenizer)
        self._embedded: dict[str, torch.Tensor] = {}

    @classmethod
    def load(cls, settings: LanguageModelSettings, compute: Compute) -> LanguageModel:
        """Load the language model that the settings name.

        Raises:
            LanguageModelError: If the model cannot be found or loaded.
            WeightsError: If an embedded model is missing or damaged.
        """
        named = ("language model", settings.model, "language_model.model", LanguageModelError)
        source = resolve(*named)
        options = {
            "trust_remote_code": settings.trust_remote_code,
            "local_files_only": Path(source).is_dir(),
        }
        with loading(*named):
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = load_weights(AutoModelForCausalLM, source, dtype=compute.dtype, **options)
        if tokenizer.chat_template is None:
            raise LanguageModelError(
                f"the language model {settings.model!r} has no chat template; name one that is "
                "tuned to follow instructions with the parameter language_model.model"
            )
        clear_generation_config(model)
        return cls(model.to(compute.device), tokenizer, revision(settings.model))

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
