# SPDX-License-Identifier: Apache-2.0
"""A causal language model of `transformers` that streams its text."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    TextStreamer,
)

from mrmllm_ros import weights
from mrmllm_ros.compute import Compute
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.settings import Validated, setting
from mrmllm_ros.weights.catalog import CATALOG


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


@dataclass(frozen=True)
class Generation:
    """A generated text.

    Attributes:
        text: The text without special tokens.
        confidence: Mean probability of its tokens, 0 to 1; 0 where there are none.
        tokens: Number of tokens.
    """

    text: str
    confidence: float
    tokens: int


class LanguageModel:
    """Tokenizer and model, ready to generate."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._special_tokens = _pattern_of_special_tokens(tokenizer)
        self.name = Path(model.name_or_path).name

    @classmethod
    def load(cls, settings: LanguageModelSettings, compute: Compute) -> LanguageModel:
        """Load the language model that the settings name.

        Raises:
            LanguageModelError: If it cannot be had or read.
            WeightsError: If an embedded model is missing or damaged.
        """
        if not sys.stderr.isatty():
            transformers.utils.logging.disable_progress_bar()
        source = _source(settings.model)
        options = {
            "trust_remote_code": settings.trust_remote_code,
            "local_files_only": Path(source).is_dir(),
        }
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = AutoModelForCausalLM.from_pretrained(source, dtype=compute.dtype, **options)
        except Exception as error:
            # A missing, a damaged and a foreign model each fail in their own way.
            reason = " ".join(str(error).split())
            raise LanguageModelError(
                f"the language model {settings.model!r} cannot be loaded: {reason}. Name another "
                "with the parameter language_model.model"
            ) from error
        if tokenizer.chat_template is None:
            raise LanguageModelError(
                f"the language model {settings.model!r} has no chat template; name one that is "
                "tuned to follow instructions with the parameter language_model.model"
            )
        return cls(model.to(compute.device).eval(), tokenizer)

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, without special tokens."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.inference_mode()
    def generate(
        self,
        messages: list[dict[str, str]],
        max_new_tokens: int,
        on_text: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> Generation:
        """Answer a conversation, greedily.

        Args:
            messages: The conversation so far, with `role` and `content`.
            max_new_tokens: Longest answer.
            on_text: Called with each piece of text as soon as it is complete.
            should_stop: Asked after every token; true ends the text there.

        Returns:
            The text so far, however it ended.
        """
        prompt = self._tokenizer.apply_chat_template(
            self._as_plain_text(messages),
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        ).to(self._model.device)
        probabilities = _TokenProbabilities()
        output = self._model.generate(
            **prompt,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            streamer=_CallbackStreamer(self._tokenizer, on_text),
            stopping_criteria=StoppingCriteriaList([_StopWhen(should_stop)]),
            logits_processor=LogitsProcessorList([probabilities]),
        )
        tokens = output[0, prompt["input_ids"].shape[1] :]
        return Generation(
            text=self._tokenizer.decode(tokens, skip_special_tokens=True).strip(),
            confidence=probabilities.mean(),
            tokens=len(tokens),
        )

    def _as_plain_text(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        """Blank out special tokens: nothing that a user asks or a label holds ends a turn."""
        if self._special_tokens is None:
            return messages
        return [{**m, "content": self._special_tokens.sub(" ", m["content"])} for m in messages]


class _CallbackStreamer(TextStreamer):
    """Hands each piece of text to a function."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, on_text: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._on_text = on_text

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self._on_text(text)


class _TokenProbabilities(LogitsProcessor):
    """Notes the probability of each token, which is the greatest one when decoding greedily."""

    def __init__(self) -> None:
        self._probabilities: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._probabilities.append(scores[0].float().softmax(-1).max())
        return scores

    def mean(self) -> float:
        """Mean so far; 0 where there are no tokens."""
        if not self._probabilities:
            return 0.0
        return float(torch.stack(self._probabilities).mean())


class _StopWhen(StoppingCriteria):
    """Ends generation when a function says so."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        stop = self._should_stop()
        return torch.full((len(input_ids),), stop, dtype=torch.bool, device=input_ids.device)


def _pattern_of_special_tokens(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    """What matches any special token, the longest first; None where there are none."""
    tokens = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    if not tokens:
        return None
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))


def _source(model: str) -> str:
    """Folder of an embedded model, else the name as it is."""
    if model in CATALOG:
        if CATALOG[model].kind != "language model":
            raise LanguageModelError(f"language_model.model: {model} is a {CATALOG[model].kind}")
        return str(weights.locate(model))
    path = Path(model).expanduser()
    looks_like_path = model.startswith((".", "/", "~"))
    if looks_like_path and not path.is_dir():
        raise LanguageModelError(f"language_model.model: there is no folder {path}")
    return str(path) if path.is_dir() else model
