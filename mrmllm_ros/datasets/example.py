# SPDX-License-Identifier: Apache-2.0
"""Training examples: scene, questions with answers, and targets of the perception head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mrmllm_ros.datasets.questions.scene import Scene
from mrmllm_ros.detection.detector import Perception


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Statements of a right answer, for scoring; None for what is not checked.

    Attributes:
        polarity: True for yes or "there is one", False for no.
        number: Number in the answer.
        mentions: Words of `among` in the answer; other words of `among` make it wrong.
        among: Words that `mentions` is chosen from, such as the three sides.
        pairs: Ids with the word of each, for answers about several objects.
        cited: Ids of the objects that the answer should cite.
        cites_answer: Whether the citation is the answer, as for "which one?"; otherwise citations
            are scored separately.
        unanswerable: Whether the answer says that the question cannot be answered.
    """

    polarity: bool | None = None
    number: int | None = None
    mentions: frozenset[str] | None = None
    among: frozenset[str] = frozenset()
    pairs: frozenset[tuple[int, str]] | None = None
    cited: frozenset[int] | None = None
    cites_answer: bool = False
    unanswerable: bool = False

    @property
    def is_scorable(self) -> bool:
        """Whether it states anything that makes an answer right or wrong."""
        stated = (self.polarity, self.number, self.mentions, self.pairs)
        return self.unanswerable or self.cites_answer or any(x is not None for x in stated)


@dataclass(frozen=True, kw_only=True)
class QuestionAnswer:
    """A question with its answer.

    Attributes:
        question: Text of the question; empty asks for a description.
        answer: Right answer with citations, for training.
        family: Question family, such as `count`.
        truth: Statements of a right answer, for scoring.
    """

    question: str
    answer: str
    family: str
    truth: Truth


@dataclass(frozen=True, eq=False, kw_only=True)
class Targets:
    """Targets of the perception head for K candidates.

    Attributes:
        scores: (K,) float32, probability that the candidate is an object: 1 for an object, 0 for
            no object or a second box of one, NaN if unknown.
        labels: K labels; empty if unknown or no object.
        xyxy: (K, 4) float32, box of the object in pixels; NaN if unknown.
        attributes: Known attributes of each candidate by name.
        novelty: (K,) float32, 0 familiar to 1 corner case; NaN if unknown.

    Raises:
        ValueError: If the parts have different lengths.
    """

    scores: np.ndarray
    labels: tuple[str, ...]
    xyxy: np.ndarray
    attributes: tuple[Mapping[str, str], ...]
    novelty: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.scores.shape != (count,) or self.xyxy.shape != (count, 4):
            raise ValueError(
                f"{count} labels, but scores of shape {self.scores.shape} and boxes of shape "
                f"{self.xyxy.shape}"
            )
        if len(self.attributes) != count:
            raise ValueError(f"{count} labels, but attributes of {len(self.attributes)}")
        if self.novelty.shape != (count,):
            raise ValueError(f"{count} labels, but novelty of shape {self.novelty.shape}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Example:
    """A scene with questions and targets.

    Attributes:
        perception: K ranked candidates, with features if the scene has an image.
        attributes: Attributes of each candidate that the prompt states, by name, such as
            `{"color": "red"}`; `perception` holds the distances.
        questions: Questions about the scene; may be empty.
        targets: Targets of the perception head, or None if unknown.
        visual: (N_m, d_m) tokens `V_m` of the image, or None for a scene without an image.
        missed: Labels of objects that may be present without being reported.
        region_names: (K, N) float32 probabilities of the class names for each candidate, see
            `LabelFusion.classify`; None for a scene without an image.
        scene: The scene that questions are drawn from, if its annotations are complete; None for
            questions about the reported objects.
        context: Text about the scene that a user gives; None for none.
    """

    perception: Perception
    attributes: tuple[Mapping[str, str], ...]
    questions: tuple[QuestionAnswer, ...]
    targets: Targets | None = None
    visual: torch.Tensor | None = None
    missed: frozenset[str] = frozenset()
    region_names: np.ndarray | None = None
    scene: Scene | None = None
    context: str | None = None
