# SPDX-License-Identifier: Apache-2.0
"""Time of the fusion pass by number of objects, compared with passes of the language model.

The fusion pass consists of visual encoder, query fusion, language model over the tokens of the
frame (after a cached system prompt) and perception head. The measurements alternate with plain
forward passes of the language model over as many tokens, and with the correction of labels by the
visual encoder's names of as many regions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from mrmllm_ros.benchmarks.fusion_benchmark import (
    BenchmarkError,
    Fusion,
    Options,
    milliseconds,
    ratio,
    wait_for,
)


def run(options: Options, counts: Sequence[int] = (0, 1, 10, 50)) -> dict[str, object]:
    """Measure.

    Args:
        options: Models, frame and rounds.
        counts: Numbers of objects.

    Raises:
        BenchmarkError: If the frame has too few objects, or the head uses no language model.
    """
    options.progress("loading the fusion model")
    fusion = Fusion.load(options)
    if not fusion.answerer.model.config.head_needs_language_model:
        raise BenchmarkError(
            "the perception head does not use the language model, so there is no pass to measure; "
            "set mrmllm.head_uses_language_model to true, or measure random weights with "
            "--checkpoint ''"
        )
    figures = {}
    for count in counts:
        options.progress(f"{count} objects")
        figures[f"{count} objects"] = _measure(fusion, count, options.rounds)
    return {"trained": bool(options.settings.trained.checkpoint), **figures}


def _measure(fusion: Fusion, count: int, rounds: int) -> dict[str, object]:
    perception = fusion.perception(count)
    [encoded] = fusion.answerer.encode([fusion.image], [perception])
    tokens = encoded.prefilled().attention_mask.shape[1] - fusion.answerer.system_prompt_length
    language_model = fusion.answerer.model.language_model
    ids = torch.ones((1, tokens), dtype=torch.int64, device=language_model.device)

    def enrich() -> None:
        fusion.answerer.encode([fusion.image], [perception])

    @torch.inference_mode()
    def plain() -> None:
        language_model(ids, use_cache=True, logits_to_keep=1)

    def correct_labels() -> None:
        fusion.label_fusion.fuse_images([fusion.image], [perception])

    runs = {"enrich": enrich, "plain_forward": plain}
    if fusion.label_fusion is not None:
        fusion.label_fusion.max_crops = count
        runs["visual_labels"] = correct_labels
    passes: dict[str, list[float]] = {name: [] for name in runs}
    for step in range(rounds + 1):
        for name, run_pass in runs.items():
            seconds = _time(run_pass, language_model.device)
            # The first round warms up.
            if step:
                passes[name].append(seconds)
    return {
        "tokens": tokens,
        **{f"{name}_ms": milliseconds(seconds) for name, seconds in passes.items()},
        "ratio": ratio(passes["enrich"], passes["plain_forward"]),
    }


def _time(run_pass: Callable[[], None], device: torch.device) -> float:
    wait_for(device)
    started = time.perf_counter()
    run_pass()
    wait_for(device)
    return time.perf_counter() - started
