# SPDX-License-Identifier: Apache-2.0
"""Reproducible sequence of training batches from several sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch.utils.data import Dataset

from mrmllm_ros.datasets.example import Example
from mrmllm_ros.training.collator import Collator, TrainingBatch
from mrmllm_ros.training.training_settings import DropSettings

# Streams of random numbers of one seed and step.
_BATCH, _PERCEPTION_BATCH, _SWITCHES, _PERCEPTION_SWITCHES = range(4)


@dataclass(frozen=True)
class Source:
    """Source of examples.

    Attributes:
        share: Share of the steps, relative to the shares of other sources.
        example: Function that creates the example of a number, reproducibly.
        has_targets: Whether its examples have images and targets of perception.
        labels: All labels of its targets.
    """

    share: float
    example: Callable[[int], Example]
    has_targets: bool = True
    labels: tuple[str, ...] = ()


class Batches(Dataset[tuple[TrainingBatch, TrainingBatch | None]]):
    """The two batches of each step: one with texts, one for perception without language model.

    The perception batch costs little and trains query fusion and perception head on scenes with
    images.

    A batch holds examples of one source, which have similar lengths. It depends only on the seed,
    the step and the process, so that a resumed run continues as if it had not been interrupted.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        collate: Collator,
        drop: DropSettings,
        *,
        batch_size: int,
        perception_batch_size: int,
        seed: int,
        process: int = 0,
    ) -> None:
        """Create the sequence.

        Args:
            sources: At least one source, each with a share above 0.
            collate: Collator of the batches.
            drop: Probability that a step leaves the prompt out.
            batch_size: Number of examples with texts.
            perception_batch_size: Number of examples of the perception batch; 0 for none.
            seed: Random seed.
            process: Index of this process in distributed training.
        """
        self._sources = list(sources.values())
        self._collate = collate
        self._drop = drop
        self._batch_size = batch_size
        self._perception_batch_size = perception_batch_size
        self._perception_sources = [source for source in self._sources if source.has_targets]
        self._seed = seed
        self._process = process

    def __getitem__(self, step: int) -> tuple[TrainingBatch, TrainingBatch | None]:
        """Return the batches of a step."""
        dropped = "perception_prompt" in dropped_switches(self._drop, self._seed, step)
        examples = self._examples(self._sources, step, _BATCH, self._batch_size)
        batch = self._collate(examples, with_prompt=not dropped)
        if not (self._perception_sources and self._perception_batch_size):
            return batch, None
        examples = self._examples(
            self._perception_sources, step, _PERCEPTION_BATCH, self._perception_batch_size
        )
        return batch, self._collate([replace(example, questions=()) for example in examples])

    def _examples(
        self, sources: Sequence[Source], step: int, stream: int, count: int
    ) -> list[Example]:
        # All processes draw the same source and different examples.
        shares = np.array([source.share for source in sources])
        rng = np.random.default_rng([self._seed, step, stream])
        source = sources[int(rng.choice(len(shares), p=shares / shares.sum()))]
        # From 1, because numpy ignores trailing zeros of a seed.
        rng = np.random.default_rng([self._seed, step, stream, 1 + self._process])
        return [source.example(int(n)) for n in rng.integers(0, 2**31, count)]


def dropped_switches(
    drop: DropSettings, seed: int, step: int, perception: bool = False
) -> list[str]:
    """Draw the mechanisms that a step leaves out, equally in every process.

    Prompt and query tokens are never left out together, because the model would get no objects.

    Args:
        drop: Probability of each mechanism.
        seed: Random seed of the run.
        step: The step.
        perception: Whether to draw for the perception batch.
    """
    rng = np.random.default_rng([seed, step, _PERCEPTION_SWITCHES if perception else _SWITCHES])
    names = ("query_fusion", "prefix_tokens", "perception_prompt")
    dropped = [name for name in names if rng.random() < getattr(drop, name)]
    if {"prefix_tokens", "perception_prompt"} <= {*dropped}:
        dropped.remove("perception_prompt")
    return dropped


def repeat(
    examples: Sequence[Example],
    questions: Callable[[Example, np.random.Generator], Example] | None = None,
) -> Callable[[int], Example]:
    """Draw examples from a list with replacement.

    Args:
        examples: At least one example.
        questions: Function that draws new questions about an example; None keeps its questions.
    """

    def example(number: int) -> Example:
        rng = np.random.default_rng(number)
        chosen = examples[int(rng.integers(len(examples)))]
        return chosen if questions is None else questions(chosen, rng)

    return example
