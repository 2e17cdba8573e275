# SPDX-License-Identifier: Apache-2.0
"""Yes-or-no questions about objects that are there and that are not: POPE's protocol.

From POPE (Li et al., arXiv 2305.10355): as many questions about things that are there as about
things that are not, these chosen in three ways: at random; the most frequent ones of all scenes;
and those that most often are where the things of this scene are. Ours: names that could be said
of something that is there are not asked about, and where too few names ever come together with
those of the scene, frequent ones fill up.
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
    AnsweredQuestion,
    Progress,
    Suite,
    SuiteResult,
    answer_all,
    per_scene,
)

SAMPLINGS = ("random", "popular", "adversarial")
_EACH = 3
_SEED = 20230517


class HallucinationSuite(Suite):
    """Accuracy, precision, recall, F1 and share of yes; yes is the positive answer."""

    title = "yes-or-no questions about objects that are there and that are not (POPE)"
    variants = ANSWER_VARIANTS

    def __init__(
        self,
        examples: Sequence[Example],
        present: Sequence[Sequence[str]],
        vocabulary: Sequence[str],
        name: str = "hallucination",
    ) -> None:
        """Choose the questions.

        Args:
            examples: C scenes; their own questions are not asked.
            present: Labels of what is there in each of them.
            vocabulary: Labels that can be asked about.
            name: What the suite is called.
        """
        self.name = name
        self._examples = [
            replace(example, questions=tuple(items))
            for example, items in zip(examples, pope(present, vocabulary), strict=True)
        ]

    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.run`."""
        answered = answer_all(answerer, self._examples, progress)
        count = len(self._examples)
        statistics = yes_no_statistics(answered, count)
        for sampling in SAMPLINGS:
            of_sampling = [each for each in answered if each.item.family == sampling]
            for name, statistic in yes_no_statistics(of_sampling, count).items():
                statistics[f"{name}, {sampling}"] = statistic
        return SuiteResult(count, statistics)


def pope(
    present: Sequence[Sequence[str]], vocabulary: Sequence[str]
) -> list[list[QuestionAnswer]]:
    """Questions about scenes; of each way to choose what is not there, as many yes as no.

    Args:
        present: Labels of what is there in each of C scenes, in any order and number.
        vocabulary: Labels that can be asked about.

    Returns:
        For each scene its questions, with the sampling as their family.
    """
    scenes = [tuple(dict.fromkeys(labels)) for labels in present]
    frequent = Counter(label for labels in scenes for label in labels)
    together = _together(scenes)
    asked: list[list[QuestionAnswer]] = []
    for number, labels in enumerate(scenes):
        rng = np.random.default_rng((_SEED, number))
        absent = [x for x in vocabulary if not any(overlap(x, label) for label in labels)]
        # Shuffled, so that equals come in no order.
        absent = [absent[i] for i in rng.permutation(len(absent))]
        popular = sorted(absent, key=lambda x: -frequent[x])
        near = Counter(x for label in labels for x in together[label].elements())
        chosen = {
            "random": absent,
            "popular": popular,
            "adversarial": sorted(popular, key=lambda x: -near[x]),
        }
        count = min(_EACH, len(labels), len(absent))
        there = [labels[i] for i in rng.permutation(len(labels))[:count]]
        asked.append(
            [
                _question(label, is_there, sampling)
                for sampling in SAMPLINGS
                for is_there, which in ((True, there), (False, chosen[sampling][:count]))
                for label in which
            ]
        )
    return asked


def yes_no_statistics(answered: Sequence[AnsweredQuestion], scenes: int) -> dict[str, Statistic]:
    """POPE's figures; what is neither yes nor no is a wrong answer, and no yes."""
    places = [a.scene for a in answered]
    said = np.array([polarity(a.text) is True for a in answered], bool)
    denied = np.array([polarity(a.text) is False for a in answered], bool)
    true = np.array([a.item.truth.polarity is True for a in answered], bool)

    def count(which: np.ndarray) -> np.ndarray:
        return per_scene(places, which, scenes)

    hits, yes, there = count(said & true), count(said), count(true)
    asked = count(np.ones(len(answered)))
    return {
        "accuracy": Ratio(count((said & true) | (denied & ~true)), asked),
        "precision": Ratio(hits, yes),
        "recall": Ratio(hits, there),
        "F1": Ratio(2 * hits, yes + there),
        "share of yes": Ratio(yes, asked),
    }


def _together(scenes: Sequence[Sequence[str]]) -> dict[str, Counter[str]]:
    """How often each label comes together with each other one."""
    together: dict[str, Counter[str]] = {}
    for labels in scenes:
        for label in labels:
            together.setdefault(label, Counter()).update(x for x in labels if x != label)
    return together


def _question(label: str, is_there: bool, sampling: str) -> QuestionAnswer:
    text = f"Are there any {plural(label)}?" if plural_only(label) else None
    return QuestionAnswer(
        question=text or f"Is there {with_article(label)}?",
        answer="Yes." if is_there else "No.",
        family=sampling,
        truth=Truth(polarity=is_there),
    )
