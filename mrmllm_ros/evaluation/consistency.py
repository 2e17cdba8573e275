# SPDX-License-Identifier: Apache-2.0
"""Consistency suite: detections in corrupted frames of a video that training does not use.

The truth is what the detector reports in the clean frame, so that the suite measures consistency
and not correctness. Detector and fusion model are compared on the same candidates, without a score
threshold.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from pathlib import Path
from typing import ClassVar

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
from mrmllm_ros.evaluation.batched_inference import enrich
from mrmllm_ros.evaluation.statistics import Auroc, Mean, Statistic
from mrmllm_ros.evaluation.suite_result import Part, Progress, Suite, SuiteResult
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.label_fusion import LabelFusion

FRAME_STEP = 10
# Minimum score of candidates that count for the novelty of a frame.
NOVELTY_THRESHOLD = 0.15
_SEED = 7

# Kind and severity of a corruption.
Condition = tuple[str, int]
CLEAN: Condition = ("clean", 0)
CORRUPTED: tuple[Condition, ...] = tuple(product(CORRUPTIONS, SEVERITIES))


@dataclass(frozen=True, eq=False)
class CorruptedFrames:
    """Frames of a video, clean and corrupted.

    Attributes:
        video: Video file.
        backbones: Detector and visual encoder of the frames.
        step: Use every `step`-th frame.
        conditions: Corruptions.
        label_fusion: Names the regions of the candidates; None for no names.
    """

    video: Path
    backbones: Backbones
    step: int = FRAME_STEP
    conditions: tuple[Condition, ...] = CORRUPTED
    label_fusion: LabelFusion | None = None

    @cached_property
    def examples(self) -> Mapping[Condition, Sequence[Example]]:
        """Candidates and features of each frame, by condition; reproducible.

        Raises:
            ImageError: If the video cannot be read.
        """
        clean = list(islice(frames(self.video), 0, None, self.step))
        detector, encoder = self.backbones.detector, self.backbones.visual_encoder
        return {
            condition: list(
                compute_candidates(
                    _in_condition(clean, condition), detector, encoder, self.label_fusion
                )
            )
            for condition in (CLEAN, *self.conditions)
        }


class ConsistencySuite(Suite):
    """Average precision by corruption and severity, and the AUROC of novelty."""

    name = "consistency"
    title = "detections in corrupted frames, compared with the detector in clean frames"
    variants = DETECTION_VARIANTS
    part: Part = "detections"
    headline: ClassVar[Mapping[str, str]] = {"ap50": "AP50, corrupted"}

    def __init__(self, frames: CorruptedFrames) -> None:
        self._frames = frames

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`."""
        examples = self._frames.examples
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
    """Average precision on clean and corrupted frames, also by kind and by severity.

    Means are over kinds of corruption, and for a kind over its severities.
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
        statistics[f"{kind}, corrupted"] = Mean([of_kind(name, kind) for name in by_kind])
    for name, kind in product(by_kind, kinds):
        statistics[f"{kind}, {name}"] = of_kind(name, kind)
    for (name, severity), kind in product([c for c in matches if c != CLEAN], kinds):
        statistic = AveragePrecision(matches[name, severity], kind)
        statistics[f"{kind}, {name} {severity}"] = statistic
    return statistics


def frame_novelty(enriched: EnrichedDetections) -> float:
    """Mean novelty of candidates from `NOVELTY_THRESHOLD` on, or of all if there are none."""
    likely = enriched.detector.scores >= np.float32(NOVELTY_THRESHOLD)
    chosen = enriched.novelty[likely] if likely.any() else enriched.novelty
    return float(chosen.mean()) if len(chosen) else 0.0


def novelty_auroc(novelty: Mapping[Condition, Sequence[float]]) -> Auroc:
    """AUROC of a frame's novelty as a classifier of corrupted frames."""
    corrupted = np.array([values for condition, values in novelty.items() if condition != CLEAN])
    clean = np.array([novelty[CLEAN]])
    return Auroc(positives=list(corrupted.T), negatives=list(clean.T))


def _in_condition(clean: Sequence[np.ndarray], condition: Condition) -> Iterator[np.ndarray]:
    kind, severity = condition
    for index, frame in enumerate(clean):
        if condition == CLEAN:
            yield frame
        else:
            # One generator for each frame, so that frames are independent of each other.
            rng = np.random.default_rng((_SEED, zlib.crc32(kind.encode()), severity, index))
            yield corrupt(frame, kind, severity, rng)
