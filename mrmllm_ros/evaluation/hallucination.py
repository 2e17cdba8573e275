# SPDX-License-Identifier: Apache-2.0
"""Hallucination suite: yes-or-no questions about present and absent objects (POPE).

As in POPE (Li et al., arXiv 2305.10355), half of the questions are about absent objects, which are
sampled in three ways: at random, the most frequent ones of all scenes, and those that most often
occur together with objects of the scene. In addition, labels that can name a present object are
not used, and frequent labels fill up if too few occur together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import Example, QuestionAnswer, Truth
from mrmllm_ros.datasets.questions.grammar import plural, plural_only, with_article
from mrmllm_ros.datasets.questions.vocabulary import overlap
from mrmllm_ros.evaluation.ablations import ANSWER_VARIANTS
from mrmllm_ros.evaluation.scoring import polarity
from mrmllm_ros.evaluation.statistics import Ratio, Statistic
from mrmllm_ros.evaluation.suite_result import (
    SHARE_OF_PERHAPS,
    AnsweredQuestion,
    Progress,
    Suite,
    SuiteResult,
    answer_all,
    per_scene,
    share_of_perhaps,
)

SAMPLINGS = ("random", "popular", "adversarial")
_QUESTIONS = 3  # of present and of absent objects, for each sampling
_SEED = 20230517


class HallucinationSuite(Suite):
    """Accuracy, precision, recall, F1, and the shares of yes, the positive answer, and perhaps."""

    title = "yes-or-no questions about present and absent objects (POPE)"
    variants = ANSWER_VARIANTS

    def __init__(
        self,
        examples: Sequence[Example],
        present: Sequence[Sequence[str]],
        vocabulary: Sequence[str],
        name: str = "hallucination",
    ) -> None:
        """Sample the questions.

        Args:
            examples: C scenes; their questions are not used.
            present: Labels of the objects in each scene.
            vocabulary: Labels for questions about absent objects.
            name: Name of the suite.
        """
        self.name = name
        self._examples = [
            replace(example, questions=tuple(items))
            for example, items in zip(examples, pope_questions(present, vocabulary), strict=True)
        ]

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`."""
        answered = answer_all(answerer, self._examples, progress)
        count = len(self._examples)
        statistics = yes_no_statistics(answered, count)
        for sampling in SAMPLINGS:
            of_sampling = [each for each in answered if each.item.family == sampling]
            for name, statistic in yes_no_statistics(of_sampling, count).items():
                statistics[f"{name}, {sampling}"] = statistic
        return SuiteResult(count, statistics)


def pope_questions(
    present: Sequence[Sequence[str]], vocabulary: Sequence[str]
) -> list[list[QuestionAnswer]]:
    """Sample questions about scenes, half with yes and half with no for each sampling.

    Args:
        present: Labels of the objects in each of C scenes; may repeat.
        vocabulary: Labels for questions about absent objects.

    Returns:
        Questions of each scene, with the sampling as family.
    """
    scenes = [tuple(dict.fromkeys(labels)) for labels in present]
    frequent = Counter(label for labels in scenes for label in labels)
    co_occurring = _co_occurrences(scenes)
    questions: list[list[QuestionAnswer]] = []
    for number, labels in enumerate(scenes):
        rng = np.random.default_rng((_SEED, number))
        absent = [x for x in vocabulary if not any(overlap(x, label) for label in labels)]
        # Shuffled, because sorting keeps the order of equally frequent labels.
        absent = [absent[i] for i in rng.permutation(len(absent))]
        popular = sorted(absent, key=lambda x: -frequent[x])
        near = Counter(x for label in labels for x in co_occurring[label].elements())
        negatives = {
            "random": absent,
            "popular": popular,
            "adversarial": sorted(popular, key=lambda x: -near[x]),
        }
        count = min(_QUESTIONS, len(labels), len(absent))
        positives = [labels[i] for i in rng.permutation(len(labels))[:count]]
        questions.append(
            [
                _question(label, is_present, sampling)
                for sampling in SAMPLINGS
                for is_present, chosen in ((True, positives), (False, negatives[sampling][:count]))
                for label in chosen
            ]
        )
    return questions


def yes_no_statistics(answered: Sequence[AnsweredQuestion], scenes: int) -> dict[str, Statistic]:
    """POPE's metrics; an answer without yes or no is wrong and does not count as yes.

    Perhaps counts as yes; its share of all answers is stated beside.
    """
    indices = [a.scene for a in answered]
    affirmed = np.array([polarity(a.text) is True for a in answered], bool)
    denied = np.array([polarity(a.text) is False for a in answered], bool)
    true = np.array([a.item.truth.polarity is True for a in answered], bool)

    def count(which: np.ndarray) -> np.ndarray:
        return per_scene(indices, which, scenes)

    hits, yes, positive = count(affirmed & true), count(affirmed), count(true)
    asked = count(np.ones(len(answered)))
    return {
        "accuracy": Ratio(count((affirmed & true) | (denied & ~true)), asked),
        "precision": Ratio(hits, yes),
        "recall": Ratio(hits, positive),
        "F1": Ratio(2 * hits, yes + positive),
        "share of yes": Ratio(yes, asked),
        SHARE_OF_PERHAPS: share_of_perhaps(answered, scenes),
    }


def _co_occurrences(scenes: Sequence[Sequence[str]]) -> dict[str, Counter[str]]:
    """Count for each label how often other labels occur in the same scene."""
    counts: dict[str, Counter[str]] = {}
    for labels in scenes:
        for label in labels:
            counts.setdefault(label, Counter()).update(x for x in labels if x != label)
    return counts


def _question(label: str, is_present: bool, sampling: str) -> QuestionAnswer:
    text = f"Are there any {plural(label)}?" if plural_only(label) else None
    return QuestionAnswer(
        question=text or f"Is there {with_article(label)}?",
        answer="Yes." if is_present else "No.",
        family=sampling,
        truth=Truth(polarity=is_present),
    )
