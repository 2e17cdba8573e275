# SPDX-License-Identifier: Apache-2.0
"""Whether answers cite the objects that they rest on, all of them and no others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.evaluation.ablations import ANSWER_VARIANTS
from mrmllm_ros.evaluation.scoring import citation_counts
from mrmllm_ros.evaluation.statistics import Ratio, Statistic
from mrmllm_ros.evaluation.suite_result import (
    AnsweredQuestion,
    Progress,
    Suite,
    SuiteResult,
    per_scene,
)
from mrmllm_ros.evaluation.synthetic_suite import SyntheticScenes


class GroundingSuite(Suite):
    """Precision and recall of the citations in the answers of the synthetic suite."""

    name = "grounding"
    title = "citations in the answers of the synthetic suite"
    variants = ANSWER_VARIANTS

    def __init__(self, scenes: SyntheticScenes) -> None:
        self._scenes = scenes

    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.run`."""
        answered = self._scenes.answers(answerer, variant, progress)
        count = len(self._scenes.examples)
        return SuiteResult(count, citation_statistics(answered, count))


def citation_statistics(answered: Sequence[AnsweredQuestion], scenes: int) -> dict[str, Statistic]:
    """Precision, recall and F1 of citations, each counted once; see `scoring.citation_counts`."""
    counts = np.array(
        [citation_counts(a.cited, a.item.truth) for a in answered], np.float64
    ).reshape(-1, 3)
    places = [a.scene for a in answered]
    hits, cited, wanted = (per_scene(places, column, scenes) for column in counts.T)
    return {
        "precision": Ratio(hits, cited),
        "recall": Ratio(hits, wanted),
        "F1": Ratio(2 * hits, cited + wanted),
    }
