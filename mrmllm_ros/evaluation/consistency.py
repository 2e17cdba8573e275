# SPDX-License-Identifier: Apache-2.0
"""What is still perceived in damaged frames of a video and a camera that training never shows.

Named what it is: the truth is what the detector itself reports in the clean frame, so that this
measures consistency and not correctness. Detector and fusion are judged on the same candidates,
all of them, down to the lowest threshold.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from pathlib import Path

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.candidate_cache import compute_candidates
from mrmllm_ros.datasets.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.datasets.targets import pseudo_labels
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.detection.playback import frames
from mrmllm_ros.evaluation.ablations import DETECTION_VARIANTS, DETECTOR_ALONE
from mrmllm_ros.evaluation.average_precision import (
    AveragePrecision,
    Kind,
    Matches,
    TrueObjects,
)
from mrmllm_ros.evaluation.frames import enrich
from mrmllm_ros.evaluation.statistics import Auroc, Mean, Statistic
from mrmllm_ros.evaluation.suite_result import Progress, Suite, SuiteResult
from mrmllm_ros.model.backbones import Backbones

EVERY = 10
# A frame's novelty is that of what may well be something.
NOVELTY_FROM = 0.15
_SEED = 7

# A kind of damage and its strength.
Condition = tuple[str, int]
CLEAN: Condition = ("clean", 0)
CORRUPTED: tuple[Condition, ...] = tuple(product(CORRUPTIONS, SEVERITIES))


@dataclass(frozen=True, eq=False)
class CorruptedFrames:
    """Frames of a video, clean and in every condition.

    Attributes:
        video: The video.
        backbones: Perceive the frames.
        every: Every how many frames one is taken.
        conditions: Kinds and strengths of damage.
    """

    video: Path
    backbones: Backbones
    every: int = EVERY
    conditions: tuple[Condition, ...] = CORRUPTED

    @cached_property
    def examples(self) -> Mapping[Condition, Sequence[Example]]:
        """What is perceived in each frame, by condition; the same each time.

        Raises:
            ImageError: If the video cannot be read.
        """
        clean = list(islice(frames(self.video), 0, None, self.every))
        detector, encoder = self.backbones.detector, self.backbones.visual_encoder
        return {
            condition: list(compute_candidates(_in_condition(clean, condition), detector, encoder))
            for condition in (CLEAN, *self.conditions)
        }


class ConsistencySuite(Suite):
    """Average precision by kind and strength of damage, and what novelty tells."""

    name = "consistency"
    title = "damaged frames, against what the detector reports in the clean ones"
    variants = DETECTION_VARIANTS

    def __init__(self, damaged: CorruptedFrames) -> None:
        self._damaged = damaged

    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.run`."""
        examples = self._damaged.examples
        truth = [TrueObjects(pseudo_labels(each.perception)) for each in examples[CLEAN]]
        found: dict[Condition, list[Detections]] = {}
        novelty: dict[Condition, list[float]] = {}
        for condition, of_condition in examples.items():
            if variant == DETECTOR_ALONE:
                found[condition] = [each.perception.candidates for each in of_condition]
                continue
            progress(" ".join(map(str, condition if condition != CLEAN else ("clean",))))
            enriched = enrich(answerer, of_condition)
            found[condition] = [each.fused for each in enriched]
            novelty[condition] = [frame_novelty(each) for each in enriched]
        matches = {condition: Matches(truth, each) for condition, each in found.items()}
        statistics = precision_statistics(matches)
        if novelty:
            statistics["AUROC of novelty"] = novelty_auroc(novelty)
        return SuiteResult(len(truth), statistics)


def precision_statistics(matches: Mapping[Condition, Matches]) -> dict[str, Statistic]:
    """Average precision on clean and on damaged frames, there by kind, then by strength.

    Each kind counts the same in the figure over all of them, and each strength in that of a kind.
    """
    by_kind: dict[str, list[Condition]] = {}
    for condition in matches:
        if condition != CLEAN:
            by_kind.setdefault(condition[0], []).append(condition)

    def of_kind(name: str, kind: Kind) -> Mean:
        return Mean([AveragePrecision(matches[condition], kind) for condition in by_kind[name]])

    statistics: dict[str, Statistic] = {}
    kinds: tuple[Kind, Kind] = ("AP50", "AP")
    for kind in kinds:
        statistics[f"{kind}, clean"] = AveragePrecision(matches[CLEAN], kind)
        statistics[f"{kind}, damaged"] = Mean([of_kind(name, kind) for name in by_kind])
    for name, kind in product(by_kind, kinds):
        statistics[f"{kind}, {name}"] = of_kind(name, kind)
    for (name, severity), kind in product([c for c in matches if c != CLEAN], kinds):
        of_strength = AveragePrecision(matches[name, severity], kind)
        statistics[f"{kind}, {name} {severity}"] = of_strength
    return statistics


def frame_novelty(enriched: EnrichedDetections) -> float:
    """Mean novelty of the candidates that may well be something, or of all where none may."""
    likely = enriched.detector.scores >= np.float32(NOVELTY_FROM)
    chosen = enriched.novelty[likely] if likely.any() else enriched.novelty
    return float(chosen.mean()) if len(chosen) else 0.0


def novelty_auroc(novelty: Mapping[Condition, Sequence[float]]) -> Auroc:
    """How well a frame's novelty tells damaged frames from clean ones."""
    damaged = np.array([values for condition, values in novelty.items() if condition != CLEAN])
    clean = np.array([novelty[CLEAN]])
    return Auroc(positives=list(damaged.T), negatives=list(clean.T))


def _in_condition(clean: Sequence[np.ndarray], condition: Condition) -> Iterator[np.ndarray]:
    kind, severity = condition
    for index, frame in enumerate(clean):
        if condition == CLEAN:
            yield frame
        else:
            # Of its own, so that no frame depends on which others are damaged.
            rng = np.random.default_rng((_SEED, zlib.crc32(kind.encode()), severity, index))
            yield corrupt(frame, kind, severity, rng)
