# SPDX-License-Identifier: Apache-2.0
"""Ways to quantize the language model on a CPU: speed, memory, loading time and agreement.

Compared are the model in float32, the int8 form of this package (`int8_graph`), dynamic
quantization of PyTorch, and `quantize_` of torchao where it is installed. The adapters of the
checkpoint are merged before. Agreement is the share of tokens of the float32 model's answers that
a variant predicts, given the tokens before them.
"""

from __future__ import annotations

import importlib.util
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError, Options
from mrmllm_ros.benchmarks.process_usage import ProcessUsage
from mrmllm_ros.compute import Compute, free_memory
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.prompt import chat

# Plain prompts: the arithmetic is compared, not the fusion.
_OBJECTS = "person [1] red left 16,83; bus [2] blue middle 50,60; dog [3] brown right 80,70"
_QUESTIONS = (
    "Describe the scene.",
    "Is there a dog?",
    "How many people are there?",
    "What color is the bus?",
    "What is on the left?",
    "Which object is the nearest?",
)
_ANSWER_TOKENS = 32
FLOAT = "float32"


@dataclass(frozen=True, eq=False)
class Variant:
    """A language model in one arithmetic.

    Attributes:
        language_model: The model.
        load_s: Seconds to load it.
        memory_mib: Growth of the process's resident memory by loading it and one pass.
    """

    language_model: LanguageModel
    load_s: float
    memory_mib: float


def run(options: Options) -> dict[str, object]:
    """Measure.

    Args:
        options: Models and rounds.

    Raises:
        BenchmarkError: If the device is not a CPU.
    """
    compute = Compute.from_settings(options.settings.compute)
    if compute.device.type != "cpu":
        raise BenchmarkError("int8 variants run on a CPU; measure with --device cpu")
    variants = {}
    for name, load in _loaders(options, compute).items():
        options.progress(f"loading {name}")
        variants[name] = _load(load)
    prompts = [_prompt(variants[FLOAT].language_model, question) for question in _QUESTIONS]
    answers = [_continue(variants[FLOAT].language_model, prompt) for prompt in prompts]
    seconds = _measure(variants, prompts[0], options)
    reference = np.median(seconds[FLOAT], axis=0)
    figures = {}
    for name, variant in variants.items():
        options.progress(f"agreement of {name}")
        median = np.median(seconds[name], axis=0)
        figures[name] = {
            "prefill_ms": round(median[0] * 1e3, 1),
            "ms_per_token": round(median[1] * 1e3, 1),
            "prefill_ratio": round(reference[0] / median[0], 2),
            "decoding_ratio": round(reference[1] / median[1], 2),
            "load_s": round(variant.load_s, 2),
            "memory_mib": round(variant.memory_mib),
            "agreement": round(_agreement(variant.language_model, prompts, answers), 3),
        }
    return {"prompt_tokens": prompts[0].shape[1], "variants": figures}


def _loaders(options: Options, compute: Compute) -> dict[str, Callable[[], LanguageModel]]:
    checkpoint, chosen = options.settings.trained.source, options.settings.language_model

    def load(quantization: str) -> LanguageModel:
        settings = replace(chosen, quantization=quantization)
        return LanguageModel.load(settings, compute, checkpoint)

    # A copy is made the first time; the second loading is measured.
    load("int8")
    per_tensor = torch.ao.quantization.default_dynamic_qconfig
    per_channel = torch.ao.quantization.per_channel_dynamic_qconfig
    loaders = {
        FLOAT: lambda: load("none"),
        "int8 (this package)": lambda: load("int8"),
        "torch dynamic, per tensor": lambda: _dynamic(load("none"), per_tensor),
        "torch dynamic, per channel": lambda: _dynamic(load("none"), per_channel),
    }
    if importlib.util.find_spec("torchao") is None:
        options.progress("torchao is not installed and is left out")
        return loaders
    return loaders | {"torchao int8": lambda: _torchao(load("none"))}


def _dynamic(language_model: LanguageModel, configuration: object) -> LanguageModel:
    with warnings.catch_warnings():
        # It is deprecated.
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(
            language_model.model, {torch.nn.Linear: configuration}, inplace=True
        )
    return LanguageModel(quantized, language_model.tokenizer)


def _torchao(language_model: LanguageModel) -> LanguageModel:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    model = language_model.model
    # The input embeddings, which share the weights, stay in float32.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone(), requires_grad=False)
    quantize_(model, Int8DynamicActivationInt8WeightConfig())
    return language_model


def _resident_mib() -> float:
    return ProcessUsage.of(os.getpid()).resident_mib


def _load(load: Callable[[], LanguageModel]) -> Variant:
    free_memory()
    before_mib, started_s = _resident_mib(), time.perf_counter()
    language_model = load()
    load_s = time.perf_counter() - started_s
    _continue(language_model, torch.ones((1, 8), dtype=torch.int64), tokens=2)
    free_memory()
    return Variant(language_model, load_s, _resident_mib() - before_mib)


def _prompt(language_model: LanguageModel, question: str) -> torch.Tensor:
    """Tokens (1, T) of a prompt."""
    return language_model.tokenize(language_model.render(chat(_OBJECTS, question, True)))[None]


@torch.inference_mode()
def _continue(
    language_model: LanguageModel, prompt: torch.Tensor, tokens: int = _ANSWER_TOKENS
) -> torch.Tensor:
    """Most likely tokens (1, N) after a prompt, without regard to its end."""
    return _timed_continuation(language_model, prompt, tokens)[0]


@torch.inference_mode()
def _timed_continuation(
    language_model: LanguageModel, prompt: torch.Tensor, tokens: int
) -> tuple[torch.Tensor, float, float]:
    """Tokens (1, N), seconds of the prompt, and seconds for each further token."""
    cache, chosen, ids = language_model.new_cache(), [], prompt
    started_s = first_s = time.perf_counter()
    for _ in range(tokens):
        logits = language_model.model(
            input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits
        ids = logits[:, -1].argmax(-1, keepdim=True)
        chosen.append(ids)
        if len(chosen) == 1:
            first_s = time.perf_counter()
    per_token_s = (time.perf_counter() - first_s) / max(1, tokens - 1)
    return torch.cat(chosen, 1), first_s - started_s, per_token_s


def _measure(
    variants: dict[str, Variant], prompt: torch.Tensor, options: Options
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the prompt and of a token, by variant; the variants alternate."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for step in range(options.rounds + 1):
        for name, variant in variants.items():
            _, *timing = _timed_continuation(variant.language_model, prompt, _ANSWER_TOKENS)
            # The first round warms up.
            if step:
                seconds[name].append(tuple(timing))
        options.progress(f"round {step} of {options.rounds}")
    return seconds


@torch.inference_mode()
def _agreement(
    language_model: LanguageModel,
    prompts: Sequence[torch.Tensor],
    answers: Sequence[torch.Tensor],
) -> float:
    matches = []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.cat([prompt, answer[:, :-1]], 1)
        logits = language_model.model(input_ids=ids, past_key_values=language_model.new_cache())
        predicted = logits.logits[:, prompt.shape[1] - 1 :].argmax(-1)
        matches.append((predicted == answer).float())
    return float(torch.cat(matches, 1).mean())
