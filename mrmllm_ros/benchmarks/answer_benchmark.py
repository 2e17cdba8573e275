# SPDX-License-Identifier: Apache-2.0
"""Speed of answers, compared with plain generation by the original language model.

The measurements alternate, with the same frame, objects and question:

* plain: `generate` of the original language model in floating point on the whole prompt;
* float and int8: the fusion model, after the prefill of the frame (warm), or including fusion pass
  and prefill (cold);
* llama.cpp: generation by llama.cpp on the whole prompt, for each GGUF file.

They are repeated while a detector in another process works at the rate of a camera. Passes over
the whole prompt compare the language models alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mrmllm_ros.answering.answerer import Decoding, Question, SilentListener, TextListener
from mrmllm_ros.answering.generation import generate_answer
from mrmllm_ros.benchmarks.background_detector import background_detector
from mrmllm_ros.benchmarks.fusion_benchmark import (
    BenchmarkError,
    Fusion,
    Options,
    cache_mib,
    milliseconds,
    ratio,
    wait_for,
    weights_mib,
)
from mrmllm_ros.benchmarks.llama_cpp import LlamaCpp
from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.colors import color_names
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.prompt import chat, describe_objects

QUESTION = Question("Describe the scene.", Decoding(max_new_tokens=32))
PLAIN = "plain"
LLAMA_CPP = "llama.cpp "

# Generates an answer to the question, or processes the prompt.
Generate = Callable[[TextListener], object]


@dataclass(frozen=True)
class Timing:
    """Timing of an answer.

    Attributes:
        first_s: Seconds from the question to the first token.
        latency_s: Seconds from the question to the last token.
        tokens: Number of tokens.
    """

    first_s: float
    latency_s: float
    tokens: int

    @property
    def tokens_per_s(self) -> float:
        """Tokens per second after the first token."""
        return (self.tokens - 1) / (self.latency_s - self.first_s)


def run(
    options: Options,
    objects: int = 10,
    *,
    camera_hz: float = 10.0,
    gguf: Sequence[Path] = (),
) -> dict[str, object]:
    """Measure.

    Args:
        options: Models, frame and rounds.
        objects: Number of objects in the prompt.
        camera_hz: Rate of the camera beside answers; 0 to measure without one only.
        gguf: GGUF files for llama.cpp.

    Raises:
        BenchmarkError: If there are too few objects, an answer is too short, or llama.cpp is not
            available.
    """
    settings = options.settings
    compute = Compute.from_settings(settings.compute)
    options.progress("loading the original language model")
    original = LanguageModel.load(_quantized(options, "none").settings.language_model, compute)
    kinds = (
        {"float": "none", "int8": "int8"} if compute.device.type == "cpu" else {"float": "none"}
    )
    fusions = {}
    for kind, quantization in kinds.items():
        options.progress(f"loading the fusion model ({kind})")
        fusions[kind] = Fusion.load(_quantized(options, quantization))
    perception = fusions["float"].perception(objects)
    prompt = _prompt(original, fusions["float"], perception, options)
    threads = settings.compute.threads or torch.get_num_threads()
    context = len(prompt) + QUESTION.decoding.max_new_tokens
    others = {f"{LLAMA_CPP}{path.stem}": LlamaCpp(path, context, threads) for path in gguf}
    answers = _answers(original, fusions, others, perception, prompt)
    passes = _passes(original, fusions, others, prompt)
    figures = {
        "objects": objects,
        "prompt_tokens": len(prompt),
        "trained": bool(settings.trained.checkpoint),
        "threads": threads,
        "prefill": _compare_passes(passes, options, compute.device),
    }
    for name, rate_hz in {"alone": 0.0, "beside_camera": camera_hz}.items():
        if name == "alone" or rate_hz:
            options.progress(f"answers: {name}")
            load = background_detector(rate_hz, settings.compute.threads) if rate_hz else None
            with load or nullcontext():
                figures[name] = _compare_answers(answers, options, compute.device)
    if camera_hz:
        figures["ratio_to_alone"] = _slowdown(figures["beside_camera"], figures["alone"])
    encoded = fusions["float"].answerer.encode([fusions["float"].image], [perception])[0]
    return figures | {
        "memory_mib": {
            "plain_weights": weights_mib(original.model),
            "fusion_weights": weights_mib(fusions["float"].answerer.model),
            "prefilled_frame": cache_mib(encoded.prefilled().past_key_values),
        }
    }


def _quantized(options: Options, quantization: str) -> Options:
    settings = options.settings
    language_model = replace(settings.language_model, quantization=quantization)
    return replace(options, settings=replace(settings, language_model=language_model))


def _prompt(
    original: LanguageModel, fusion: Fusion, perception: Perception, options: Options
) -> list[int]:
    """Tokens of the whole prompt."""
    settings, config = options.settings.prompt, fusion.answerer.model.config
    object_list = describe_objects(
        perception.detections,
        settings,
        original.count_tokens,
        color_names(fusion.image, perception.detections),
        perception.doubtful(settings.perhaps_threshold) if config.doubtful_objects else None,
    )
    text = original.render(chat(object_list.text, QUESTION.text, config.prompt_examples))
    return original.tokenize(text).tolist()


def _answers(
    original: LanguageModel,
    fusions: Mapping[str, Fusion],
    others: Mapping[str, LlamaCpp],
    perception: Perception,
    prompt: list[int],
) -> dict[str, Generate]:
    """Functions that answer the question, by name."""
    citable = range(1, len(perception.candidates) + 1)

    def plain(listener: TextListener) -> None:
        inputs = {"input_ids": torch.tensor([prompt], device=original.model.device)}
        generate_answer(
            original.model, original.tokenizer, inputs, QUESTION.decoding, listener, citable
        )

    answers: dict[str, Generate] = {PLAIN: plain}
    for kind, fusion in fusions.items():
        answers |= _fusion_answers(kind, fusion, perception)
    tokens = QUESTION.decoding.max_new_tokens
    for name, other in others.items():
        answers[name] = lambda listener, other=other: other.generate(prompt, tokens, listener)
    return answers


def _fusion_answers(kind: str, fusion: Fusion, perception: Perception) -> dict[str, Generate]:
    answerer = fusion.answerer
    [encoded] = answerer.encode([fusion.image], [perception])

    def warm(listener: TextListener) -> None:
        answerer.answer(encoded, QUESTION, listener)

    def cold(listener: TextListener) -> None:
        [image] = answerer.encode([fusion.image], [perception])
        answerer.answer(image, QUESTION, listener)

    return {f"{kind} warm": warm, f"{kind} cold": cold}


def _passes(
    original: LanguageModel,
    fusions: Mapping[str, Fusion],
    others: Mapping[str, LlamaCpp],
    prompt: list[int],
) -> dict[str, Callable[[], object]]:
    """Functions that process the whole prompt, by name."""
    passes = {PLAIN: lambda: _forward(original, prompt)}
    for kind, fusion in fusions.items():
        text = fusion.answerer.model.text
        if text.is_quantized:
            passes[kind] = lambda text=text: _forward(text, prompt)
    for name, other in others.items():
        passes[name] = lambda other=other: other.prefill(prompt)
    return passes


@torch.inference_mode()
def _forward(language_model: LanguageModel, prompt: list[int]) -> None:
    language_model.model(
        input_ids=torch.tensor([prompt], device=language_model.model.device),
        past_key_values=language_model.new_cache(),
        use_cache=True,
        logits_to_keep=1,
    )


def _compare_passes(
    passes: Mapping[str, Callable[[], object]], options: Options, device: torch.device
) -> dict[str, object]:
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for step in range(options.rounds + 1):
        for name, run_pass in passes.items():
            started = time.perf_counter()
            run_pass()
            wait_for(device)
            # The first round warms up.
            if step:
                seconds[name].append(time.perf_counter() - started)
    return {
        name: {
            "median_ms": milliseconds(values)["median"],
            "speed_ratio_to_plain": ratio(seconds[PLAIN], values),
        }
        for name, values in seconds.items()
    }


def _compare_answers(
    answers: Mapping[str, Generate], options: Options, device: torch.device
) -> dict[str, object]:
    timings: dict[str, list[Timing]] = {name: [] for name in answers}
    for step in range(options.rounds + 1):
        for name, answer in answers.items():
            timing = _time(answer, device)
            # The first round warms up.
            if step:
                timings[name].append(timing)
        options.progress(f"round {step} of {options.rounds}")
    figures = {
        name: {
            "time_to_first_token_ms": milliseconds([t.first_s for t in values])["median"],
            "latency_ms": milliseconds([t.latency_s for t in values])["median"],
            "tokens_per_s": round(float(np.median([t.tokens_per_s for t in values])), 2),
            "tokens": values[0].tokens,
        }
        for name, values in timings.items()
    }
    to_llama_cpp = {
        name.removeprefix(LLAMA_CPP): _ratios_to(values, timings)
        for name, values in timings.items()
        if name.startswith(LLAMA_CPP)
    }
    return {
        "answers": figures,
        "ratio_to_plain": _ratios_to(timings[PLAIN], timings),
        **({"ratio_to_llama_cpp": to_llama_cpp} if to_llama_cpp else {}),
    }


def _ratios_to(
    reference: list[Timing], timings: Mapping[str, list[Timing]]
) -> dict[str, dict[str, float]]:
    return {name: _ratios(values, reference) for name, values in timings.items()}


def _time(answer: Generate, device: torch.device) -> Timing:
    stopwatch = _Stopwatch(device)
    wait_for(device)
    started = time.perf_counter()
    answer(stopwatch)
    arrivals = stopwatch.arrivals
    if len(arrivals) < 3:
        raise BenchmarkError(
            f"an answer has {len(arrivals)} tokens, at least 3 are needed; use another model or "
            "image"
        )
    return Timing(arrivals[0] - started, arrivals[-1] - started, len(arrivals))


class _Stopwatch(SilentListener):
    """Records the time of each token."""

    def __init__(self, device: torch.device) -> None:
        self.arrivals: list[float] = []
        self._device = device

    def should_stop(self) -> bool:
        wait_for(self._device)
        self.arrivals.append(time.perf_counter())
        return False


def _ratios(ours: list[Timing], reference: list[Timing]) -> dict[str, float]:
    return {
        "time_to_first_token": ratio([t.first_s for t in ours], [t.first_s for t in reference]),
        "tokens_per_s": ratio([t.tokens_per_s for t in ours], [t.tokens_per_s for t in reference]),
    }


def _slowdown(loaded: Mapping[str, object], alone: Mapping[str, object]) -> dict[str, object]:
    """Ratios of the times beside a camera and alone."""
    times = ("time_to_first_token_ms", "latency_ms")
    return {
        name: {time: round(figures[time] / alone["answers"][name][time], 3) for time in times}
        for name, figures in loaded["answers"].items()
    }
