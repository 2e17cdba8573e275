# SPDX-License-Identifier: Apache-2.0
"""Speed of answers, compared with plain generation by the original language model.

The measurements alternate, with the same frame, objects and question:

* plain: `generate` of a separate language model on the whole prompt;
* warm: the fusion model, after the fusion pass and the prefill of the frame;
* cold: the fusion model, including the fusion pass and the prefill.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mrmllm_ros.answering.answerer import Decoding, Question, SilentListener, TextListener
from mrmllm_ros.answering.generation import generate_answer
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
from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.colors import color_names
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.prompt import chat, describe_objects

QUESTION = Question("Describe the scene.", Decoding(max_new_tokens=32))


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


def run(options: Options, objects: int = 10) -> dict[str, object]:
    """Measure.

    Args:
        options: Models, frame and rounds.
        objects: Number of objects in the prompt.

    Raises:
        BenchmarkError: If there are too few objects, or an answer is too short.
    """
    options.progress("loading the original language model")
    settings = options.settings
    compute = Compute.from_settings(settings.compute)
    original = LanguageModel.load(settings.language_model, compute)
    options.progress("loading the fusion model")
    fusion = Fusion.load(options)
    perception = fusion.perception(objects)
    colors = color_names(fusion.image, perception.detections)
    object_list = describe_objects(
        perception.detections, settings.prompt, original.count_tokens, colors
    )
    examples = fusion.answerer.model.config.prompt_examples
    prompt = original.tokenize(original.render(chat(object_list.text, QUESTION.text, examples)))
    [encoded] = fusion.answerer.encode([fusion.image], [perception])

    def plain(listener: TextListener) -> None:
        inputs = {"input_ids": prompt[None]}
        generate_answer(
            original.model, original.tokenizer, inputs, QUESTION.decoding, listener, objects
        )

    def warm(listener: TextListener) -> None:
        fusion.answerer.answer(encoded, QUESTION, listener)

    def cold(listener: TextListener) -> None:
        [encoded] = fusion.answerer.encode([fusion.image], [perception])
        fusion.answerer.answer(encoded, QUESTION, listener)

    timings = _alternate({"plain": plain, "warm": warm, "cold": cold}, options, compute.device)
    return {
        "objects": objects,
        "prompt_tokens": len(prompt),
        "prefilled_tokens": encoded.prefilled().attention_mask.shape[1],
        "trained": bool(settings.trained.checkpoint),
        **{name: _figures(values) for name, values in timings.items()},
        "ratio_to_plain": {
            name: _ratios(timings[name], timings["plain"]) for name in ("warm", "cold")
        },
        "memory_mib": {
            "plain_weights": weights_mib(original.model),
            "fusion_weights": weights_mib(fusion.answerer.model),
            "prefilled_frame": cache_mib(encoded.prefilled().past_key_values),
        },
    }


def _alternate(
    answers: Mapping[str, Callable[[TextListener], None]], options: Options, device: torch.device
) -> dict[str, list[Timing]]:
    timings: dict[str, list[Timing]] = {name: [] for name in answers}
    for step in range(options.rounds + 1):
        for name, answer in answers.items():
            timing = _time(answer, device)
            # The first round warms up.
            if step:
                timings[name].append(timing)
        options.progress(f"round {step} of {options.rounds}")
    return timings


def _time(answer: Callable[[TextListener], None], device: torch.device) -> Timing:
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


def _figures(timings: list[Timing]) -> dict[str, object]:
    return {
        "time_to_first_token_ms": milliseconds([t.first_s for t in timings]),
        "latency_ms": milliseconds([t.latency_s for t in timings]),
        "tokens_per_s": round(float(np.median([t.tokens_per_s for t in timings])), 2),
        "tokens": timings[0].tokens,
    }


def _ratios(ours: list[Timing], plain: list[Timing]) -> dict[str, float]:
    return {
        "time_to_first_token": ratio([t.first_s for t in ours], [t.first_s for t in plain]),
        "tokens_per_s": ratio([t.tokens_per_s for t in ours], [t.tokens_per_s for t in plain]),
    }
