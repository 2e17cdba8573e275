# SPDX-License-Identifier: Apache-2.0
"""One scene as the model is given it, and what it should make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mrmllm_ros.detection.detector import Perception


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a right answer says, as far as that can be checked; None leaves a part unchecked.

    Attributes:
        polarity: True where the answer says yes, or that there is one; False where no.
        number: The number that it gives.
        mentions: Those of `among` that it names, and no others of them.
        among: The words that `mentions` is chosen from, such as the three sides.
        pairs: Which of the words goes with which id, where several objects have one each.
        cited: Ids of the objects that it should cite.
        cites_answer: Whether the citation is the answer itself, as for "which one?"; elsewhere
            citations are judged apart from the words.
        unanswerable: Whether it says that this cannot be told.
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
        """Whether it says anything that makes an answer right or wrong."""
        said = (self.polarity, self.number, self.mentions, self.pairs)
        return self.unanswerable or self.cites_answer or any(x is not None for x in said)


@dataclass(frozen=True, kw_only=True)
class QuestionAnswer:
    """A question, a model answer, and how any answer to it is judged.

    Attributes:
        question: As a user would ask it; empty asks for a description.
        answer: A right answer with its citations, which training teaches.
        family: What kind of question it is, such as `count`.
        truth: What a right answer says.
    """

    question: str
    answer: str
    family: str
    truth: Truth


@dataclass(frozen=True, eq=False, kw_only=True)
class Targets:
    """What the perception head should say of each of K candidates.

    Attributes:
        scores: (K,) float32, how sure it is that there is an object: 1 where there is one, 0 where
            there is none (or where another candidate is the better box of the same object), NaN
            where that is unknown.
        labels: K labels; empty where unknown or where there is no object.
        xyxy: (K, 4) float32, the object's box in pixels; NaN where unknown.
        attributes: Values of attributes by name, of each candidate; what is unknown is left out.
        novelty: (K,) float32, how unfamiliar the evidence is, 0 to 1; NaN where unknown.

    Raises:
        ValueError: If the parts are not about the same number of candidates.
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
    """One scene with questions about it.

    Attributes:
        perception: The K candidates, ranked, with their features where there is an image.
        attributes: Attributes of each candidate that the prompt states, by name, such as
            `{"color": "red"}`; distances stand in `perception`.
        questions: Questions about the reported objects; may be empty.
        targets: What the perception head should say, or None where that is unknown.
        visual: (N_m, d_m) tokens `V_m` of the image, or None where there is no image.
        missed: Labels of which there is more than is reported, perhaps; see `questions.ask`.
    """

    perception: Perception
    attributes: tuple[Mapping[str, str], ...]
    questions: tuple[QuestionAnswer, ...]
    targets: Targets | None = None
    visual: torch.Tensor | None = None
    missed: frozenset[str] = frozenset()
