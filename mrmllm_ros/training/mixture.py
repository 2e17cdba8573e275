# SPDX-License-Identifier: Apache-2.0
"""The endless, repeatable sequence of batches that a training run goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch.utils.data import Dataset

from mrmllm_ros.datasets.example import Example
from mrmllm_ros.training.collator import Collator, TrainingBatch
from mrmllm_ros.training.training_settings import DropSettings

# Several things are drawn from one seed and step.
_READ, _LOOK, _SWITCHES, _LOOK_SWITCHES = range(4)


@dataclass(frozen=True)
class Source:
    """One kind of example.

    Attributes:
        share: Part of the steps, against the shares of the other sources.
        example: Makes the example of a number; the same for the same number.
        has_targets: Whether looking at its images can be learnt from.
    """

    share: float
    example: Callable[[int], Example]
    has_targets: bool = True


class Batches(Dataset[tuple[TrainingBatch, TrainingBatch | None]]):
    """The batches of each step: one to read, and one to look at alone.

    Looking, without the language model, costs little and teaches query fusion and head to see;
    all of it is of scenes with images.

    A batch holds examples of one source, which are of about the same length. What a step gets
    depends on the seed, the step and the process alone, so that a run that was cut goes on as if
    it had not been.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        collate: Collator,
        drop: DropSettings,
        *,
        batch_size: int,
        look_batch_size: int,
        seed: int,
        process: int = 0,
    ) -> None:
        """Prepare.

        Args:
            sources: Those with a share above 0; at least one.
            collate: Makes batches.
            drop: How often the prompt is left out.
            batch_size: Examples in a batch that is read.
            look_batch_size: Examples in one that is looked at; 0 for none.
            seed: Of everything random.
            process: Which of several that train together this is.
        """
        self._sources = list(sources.values())
        self._collate = collate
        self._drop = drop
        self._batch_size = batch_size
        self._look_batch_size = look_batch_size
        self._to_look_at = [source for source in self._sources if source.has_targets]
        self._seed = seed
        self._process = process

    def __getitem__(self, step: int) -> tuple[TrainingBatch, TrainingBatch | None]:
        """The batches of a step."""
        dropped = "perception_prompt" in dropped_switches(self._drop, self._seed, step)
        read = self._collate(
            self._examples(self._sources, step, _READ, self._batch_size), with_prompt=not dropped
        )
        if not (self._to_look_at and self._look_batch_size):
            return read, None
        looked_at = self._examples(self._to_look_at, step, _LOOK, self._look_batch_size)
        # Nobody answers what is only looked at.
        return read, self._collate([replace(example, questions=()) for example in looked_at])

    def _examples(
        self, sources: Sequence[Source], step: int, use: int, count: int
    ) -> list[Example]:
        # Every process takes examples of its own, of the source that all have drawn.
        shares = np.array([source.share for source in sources])
        kinds = np.random.default_rng([self._seed, step, use])
        source = sources[int(kinds.choice(len(shares), p=shares / shares.sum()))]
        # Not from 0: a seed with a 0 at its end is the same seed.
        of_process = np.random.default_rng([self._seed, step, use, 1 + self._process])
        return [source.example(int(n)) for n in of_process.integers(0, 2**31, count)]


def dropped_switches(drop: DropSettings, seed: int, step: int, looks: bool = False) -> list[str]:
    """The mechanisms that are left out of a step, in every process alike.

    Prompt and query tokens are never left out together: nothing would tell what there is.

    Args:
        drop: How often each is.
        seed: The run's.
        step: The step.
        looks: Whether for what is looked at, else for what is read.
    """
    rng = np.random.default_rng([seed, step, _LOOK_SWITCHES if looks else _SWITCHES])
    names = ("query_fusion", "prefix_tokens", "perception_prompt")
    dropped = [name for name in names if rng.random() < getattr(drop, name)]
    if {"prefix_tokens", "perception_prompt"} <= {*dropped}:
        dropped.remove("perception_prompt")
    return dropped


def again(
    examples: Sequence[Example],
    questions: Callable[[Example, np.random.Generator], Example] | None = None,
) -> Callable[[int], Example]:
    """Take examples from a list, again and again.

    Args:
        examples: At least one.
        questions: Asks other questions each time; None leaves those that there are.
    """

    def example(number: int) -> Example:
        rng = np.random.default_rng(number)
        chosen = examples[int(rng.integers(len(examples)))]
        return chosen if questions is None else questions(chosen, rng)

    return example
