# SPDX-License-Identifier: Apache-2.0
"""Create suites by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

from mrmllm_ros.datasets.questions.vocabulary import vocabulary
from mrmllm_ros.evaluation.average_precision import load_library
from mrmllm_ros.evaluation.consistency import FRAME_STEP, ConsistencySuite, CorruptedFrames
from mrmllm_ros.evaluation.hallucination import HallucinationSuite
from mrmllm_ros.evaluation.label_tables import WORDNET
from mrmllm_ros.evaluation.labeled_images import (
    PHOTOGRAPHS,
    VIDEOS,
    Annotations,
    LabeledImages,
    require_samples_of,
)
from mrmllm_ros.evaluation.labeled_suites import (
    LabeledAnswersSuite,
    LabeledDetectionsSuite,
    TrueBoxesSuite,
)
from mrmllm_ros.evaluation.names_suite import VOCABULARIES, LabelTablesSuite, NamedRegionsSuite
from mrmllm_ros.evaluation.region_sources import MapClassifier, RegionImages, RegionNamer
from mrmllm_ros.evaluation.suite_result import Progress, Suite
from mrmllm_ros.evaluation.synthetic_suite import (
    SCENES,
    GroundingSuite,
    SyntheticScenes,
    SyntheticSuite,
)
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.weights import WeightsError, locate

NAMES = (
    "synthetic",
    "consistency",
    "hallucination",
    "grounding",
    "labeled",
    "photographs",
    "names",
)


def require_samples(names: Sequence[str]) -> None:
    """Check that the data of suites is available, before models are loaded.

    Args:
        names: Suites, from `NAMES`.

    Raises:
        WeightsError: If a sample is missing; names the command that fetches it.
        EvaluationError: If the annotations cannot be read, or a library is missing.
    """
    if {"consistency", "labeled", "photographs"} & set(names):
        load_library()
    if "consistency" in names:
        locate("bikes")
    if "labeled" in names:
        require_samples_of(Annotations.read())
    if {"photographs", "names"} & set(names):
        require_samples_of(_photographs())
    if "names" in names:
        locate(WORDNET)


@dataclass(frozen=True, eq=False)
class Suites:
    """Creates suites that share scenes.

    Attributes:
        backbones: Detector and visual encoder of images.
        scenes: Number of synthetic scenes.
        frame_step: Use every `frame_step`-th frame of the video.
        progress: Called with a line if a part is skipped.
        label_fusion: Names regions of labeled images; None for no names.
        rendered_folder: Folder of rendered scenes; None for none.
    """

    backbones: Backbones
    scenes: int = SCENES
    frame_step: int = FRAME_STEP
    progress: Progress = field(default=print)
    label_fusion: LabelFusion | None = None
    rendered_folder: Path | None = None

    def of(self, names: Sequence[str]) -> list[Suite]:
        """Create suites by name.

        Args:
            names: Suites, from `NAMES`.

        Raises:
            WeightsError: If a sample is missing; names the command that fetches it.
            EvaluationError: If the annotations cannot be read.
        """
        return [suite for name in names for suite in self._create(name)]

    def _create(self, name: str) -> list[Suite]:
        if name == "synthetic":
            return [SyntheticSuite(self._synthetic_scenes)]
        if name == "grounding":
            return [GroundingSuite(self._synthetic_scenes)]
        if name == "consistency":
            video = locate("bikes") / VIDEOS["bikes"]
            frames = CorruptedFrames(
                video, self.backbones, self.frame_step, label_fusion=self.label_fusion
            )
            return [ConsistencySuite(frames)]
        if name == "labeled":
            return _labeled_suites(self._images)
        if name == "photographs":
            images = LabeledImages(_photographs(), self.backbones, name, self.label_fusion)
            return [*_labeled_suites(images), _hallucination_in(images, name)]
        if name == "names":
            return self._names()
        return self._hallucination()

    def _names(self) -> list[Suite]:
        fusion = self.label_fusion
        if fusion is None or fusion.knowledge is None:
            self.progress("names: skipped, because the visual encoder gives regions no names")
            return []
        encoder, language_model = self.backbones.visual_encoder, self.backbones.language_model
        crops = fusion.classifier
        namer = RegionNamer(crops, MapClassifier(encoder, crops.names))
        places = {"photographs": RegionImages.of_annotations(_photographs())}
        if self.rendered_folder is not None:
            places["rendered"] = RegionImages.of_rendered(self.rendered_folder)
        return [
            *(NamedRegionsSuite(place, regions, namer) for place, regions in places.items()),
            *(
                LabelTablesSuite(fusion.knowledge, language_model, vocabulary, share_word)
                for share_word, vocabulary in product((False, True), VOCABULARIES)
            ),
        ]

    def _hallucination(self) -> list[Suite]:
        examples = self._synthetic_scenes.examples
        present = [example.perception.detections.labels for example in examples]
        suites: list[Suite] = [HallucinationSuite(examples, present, vocabulary("evaluation"))]
        try:
            require_samples_of(self._images.annotations)
        except WeightsError as error:
            self.progress(f"hallucination: skipped the labeled images: {error}")
            return suites
        return [*suites, _hallucination_in(self._images, "labeled images")]

    @cached_property
    def _synthetic_scenes(self) -> SyntheticScenes:
        return SyntheticScenes(self.scenes)

    @cached_property
    def _images(self) -> LabeledImages:
        return LabeledImages(Annotations.read(), self.backbones, label_fusion=self.label_fusion)


def _photographs() -> Annotations:
    return Annotations.read(PHOTOGRAPHS, "evaluation")


def _labeled_suites(images: LabeledImages) -> list[Suite]:
    kinds = (LabeledDetectionsSuite, LabeledAnswersSuite, TrueBoxesSuite)
    return [kind(images) for kind in kinds]


def _hallucination_in(images: LabeledImages, place: str) -> HallucinationSuite:
    annotations = images.annotations
    return HallucinationSuite(
        images.examples, annotations.present, annotations.labels, f"hallucination, {place}"
    )
