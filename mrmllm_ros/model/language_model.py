# SPDX-License-Identifier: Apache-2.0
"""A causal language model of `transformers` with its tokenizer."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
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
from mrmllm_ros.settings import Validated, setting
from mrmllm_ros.weights.pretrained import load_weights, resolve, revision


class LanguageModelError(MrmllmError):
    """A language model cannot be loaded; the message names it and the fix."""


@dataclass(frozen=True)
class LanguageModelSettings(Validated):
    """Which language model."""

    model: str = setting(
        "smollm2-135m-instruct",
        "Name of an embedded model (see `mrmllm models list`), a folder, or a model of the "
        "Hugging Face hub.",
    )
    trust_remote_code: bool = setting(
        False, "Whether code that comes with a model may run. Only for models that you trust."
    )


class LanguageModel:
    """A frozen language model, its tokenizer, and how it is spoken to.

    Attributes:
        model: The model; its own weights take no gradient.
        tokenizer: Its tokenizer, with a chat template.
        name: The model's name for messages, logs and checkpoints.
        revision: Which state of its weights, where that is known; else empty.
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
            LanguageModelError: If it cannot be had or read.
            WeightsError: If an embedded model is missing or damaged.
        """
        if not sys.stderr.isatty():
            transformers.utils.logging.disable_progress_bar()
        source = resolve(
            settings.model, "language model", "language_model.model", LanguageModelError
        )
        options = {
            "trust_remote_code": settings.trust_remote_code,
            "local_files_only": Path(source).is_dir(),
        }
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = load_weights(AutoModelForCausalLM, source, dtype=compute.dtype, **options)
        except Exception as error:
            # A missing, a damaged and a foreign model each fail in their own way.
            reason = " ".join(str(error).split()).rstrip(".")
            raise LanguageModelError(
                f"the language model {settings.model!r} cannot be loaded: {reason}. Name another "
                "with the parameter language_model.model"
            ) from error
        if tokenizer.chat_template is None:
            raise LanguageModelError(
                f"the language model {settings.model!r} has no chat template; name one that is "
                "tuned to follow instructions with the parameter language_model.model"
            )
        forget_decoding(model)
        return cls(model.to(compute.device), tokenizer, revision(settings.model))

    @property
    def width(self) -> int:
        """Width of its hidden states, d_llm."""
        return self.model.get_input_embeddings().embedding_dim

    @property
    def context_length(self) -> int | None:
        """Most tokens that it can read and write together, where it says so."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)

    def render(self, messages: list[dict[str, str]]) -> str:
        """Write a conversation in the model's chat format, up to where its answer begins.

        Args:
            messages: The conversation so far, with `role` and `content`.
        """
        try:
            return self._render(messages)
        except TemplateError:
            if messages[0]["role"] != "system":
                raise
            # Some formats know no system's turn: what it says then begins the user's.
            system, first, *rest = messages
            content = f"{system['content']}\n{first['content']}"
            return self._render([{**first, "content": content}, *rest])

    def _render(self, messages: list[dict[str, str]]) -> str:
        return self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )

    def plain(self, text: str) -> str:
        """Blank special tokens: nothing that a user asks or a label holds ends a turn."""
        return self._blank(text)

    def tokenize(self, text: str) -> torch.Tensor:
        """Tokens of a text that is in the chat format already: (T,) int64 on the device."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=torch.int64, device=self.model.device)

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, without special tokens."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    # Kept for training too, which inference tensors cannot take part in.
    @torch.inference_mode(False)
    @torch.no_grad()
    def embed_texts(self, texts: tuple[str, ...] | list[str]) -> torch.Tensor:
        """Mean of the model's own token embeddings of each text, so that any vocabulary works.

        Args:
            texts: V short texts, such as labels.

        Returns:
            (V, d_llm) in the model's precision.
        """
        embeddings = self.model.get_input_embeddings()
        for text in texts:
            if text not in self._embedded:
                # A label within a sentence has a space before it, and so other tokens.
                ids = self.tokenize(" " + self.plain(text))
                self._embedded[text] = embeddings(ids).mean(0)
        if not texts:
            return torch.zeros(0, self.width, dtype=self.model.dtype, device=self.model.device)
        return torch.stack([self._embedded[text] for text in texts])


def forget_decoding(model: PreTrainedModel) -> None:
    """Keep of a model's own settings which tokens end a text, and nothing else.

    Many bring penalties and ways of drawing tokens, which would stand behind `Decoding`.

    Args:
        model: Any model that `generate` runs.
    """
    own = model.generation_config
    model.generation_config = GenerationConfig(
        bos_token_id=own.bos_token_id, eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id
    )


def special_token_blanker(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], str]:
    """A function that blanks special tokens out of a text.

    Nothing that a user asks or a label holds may end a turn or stand for an image.
    """
    tokens = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    if not tokens:
        return lambda text: text
    longest_first = sorted(tokens, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(" ", text)
