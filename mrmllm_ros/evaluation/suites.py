# SPDX-License-Identifier: Apache-2.0
"""Create suites by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path

from mrmllm_ros.datasets.questions.vocabulary import vocabulary
from mrmllm_ros.detection.rgbd_frames import ANNOTATIONS
from mrmllm_ros.evaluation.consistency import FRAME_STEP, ConsistencySuite, CorruptedFrames
from mrmllm_ros.evaluation.context_suite import ContextLabelsSuite, ambiguous_objects
from mrmllm_ros.evaluation.controls import Controls
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
from mrmllm_ros.evaluation.pair_choice_suite import PairChoiceSuite
from mrmllm_ros.evaluation.region_sources import MapClassifier, RegionImages, RegionNamer
from mrmllm_ros.evaluation.rendered_scenes import DetectedScenes, RenderedScenes
from mrmllm_ros.evaluation.rendered_suites import RenderedDetectionsSuite, RenderedQuestionsSuite
from mrmllm_ros.evaluation.suite_result import EvaluationError, Progress, Suite
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
    *("synthetic", "consistency", "hallucination", "grounding", "labeled", "photographs"),
    *("names", "rendered", "context"),
)
# Options of `mrmllm evaluate` that give the folders of suites.
FOLDER_OPTIONS = {"rendered": "--scenes-folder", "context": "--context-folder"}


@dataclass(frozen=True, kw_only=True)
class SceneFolders:
    """Folders of rendered scenes; None if not given.

    Attributes:
        rendered: Scenes of the suite `rendered`.
        context: Pairs of scenes of the suite `context`.
        probe: Scenes that the control baselines are fitted on, for training or tuning.
    """

    rendered: Path | None = None
    context: Path | None = None
    probe: Path | None = None

    def missing(self) -> dict[str, str]:
        """Suites whose folder is not given, with the option that gives it."""
        return {x: option for x, option in FOLDER_OPTIONS.items() if self._of(x) is None}

    def read(self, suite: str) -> RenderedScenes:
        """Read the scenes of a suite, `rendered` or `context`.

        Raises:
            EvaluationError: If the folder is not given, or cannot be read.
        """
        folder = self._of(suite)
        if folder is None:
            kind = "--kind context " if suite == "context" else ""
            raise EvaluationError(
                f"the suite {suite} needs a folder of rendered scenes: make one with `mrmllm "
                f"scenes render {kind}--out FOLDER --split evaluation` and give it with "
                f"{FOLDER_OPTIONS[suite]} FOLDER"
            )
        return RenderedScenes.read(folder)

    def labels(self) -> tuple[str, ...]:
        """Labels of the evaluated scenes.

        Raises:
            EvaluationError: If no folder is given, or one cannot be read.
        """
        given = [name for name in FOLDER_OPTIONS if self._of(name) is not None]
        if not given:
            raise EvaluationError(
                "--scene-labels needs scenes: give --scenes-folder or --context-folder"
            )
        return tuple(dict.fromkeys(x for name in given for x in self.read(name).labels))

    def _of(self, suite: str) -> Path | None:
        return self.rendered if suite == "rendered" else self.context

    def require_other_probe(self) -> None:
        """Check that no suite evaluates the scenes that controls are fitted on.

        Raises:
            EvaluationError: If one does, or the folder cannot be read.
        """
        if self.probe is None:
            return
        RenderedScenes.read(self.probe)
        content = (self.probe / ANNOTATIONS).read_bytes()
        for folder in (self.rendered, self.context):
            if folder is not None and (folder / ANNOTATIONS).read_bytes() == content:
                raise EvaluationError(
                    f"--probe-folder {self.probe} has the evaluated scenes; controls must be "
                    "fitted on others: render some with --split tuning"
                )


NO_FOLDERS = SceneFolders()


def require_samples(names: Sequence[str], folders: SceneFolders = NO_FOLDERS) -> None:
    """Check that the data of suites is available, before models are loaded.

    Args:
        names: Suites, from `NAMES`.
        folders: Folders of rendered scenes.

    Raises:
        WeightsError: If a sample is missing; names the command that fetches it.
        EvaluationError: If a folder is missing, annotations cannot be read, or the control
            baselines would be fitted on evaluated scenes.
    """
    if "consistency" in names:
        locate("bikes")
    if "labeled" in names:
        require_samples_of(Annotations.read())
    if {"photographs", "names"} & set(names):
        require_samples_of(_photographs())
    if "names" in names:
        locate(WORDNET)
    if "rendered" in names or ("names" in names and folders.rendered is not None):
        folders.read("rendered")
    if "context" in names:
        ambiguous_objects(folders.read("context"))
    folders.require_other_probe()


@dataclass(frozen=True, eq=False)
class Suites:
    """Creates suites that share scenes.

    Attributes:
        backbones: Detector and visual encoder of images.
        scenes: Number of synthetic scenes.
        frame_step: Use every `frame_step`-th frame of the video.
        progress: Called with a line if a part is skipped.
        label_fusion: Names regions of labeled images; None for no names.
        folders: Folders of rendered scenes.
        doubtful: Whether the prompt names doubtful objects; questions about synthetic scenes are
            about them, too.
    """

    backbones: Backbones
    scenes: int = SCENES
    frame_step: int = FRAME_STEP
    progress: Progress = field(default=print)
    label_fusion: LabelFusion | None = None
    folders: SceneFolders = NO_FOLDERS
    doubtful: bool = False

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
            return _labeled_suites(self._images, self._controls)
        if name == "photographs":
            images = LabeledImages(_photographs(), self.backbones, name, self.label_fusion)
            return [*_labeled_suites(images, self._controls), _hallucination_in(images, name)]
        if name in FOLDER_OPTIONS:
            return self._rendered(name)
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
        sets = {"photographs": RegionImages.of_annotations(_photographs())}
        if self.folders.rendered is not None:
            sets["rendered"] = RegionImages.of_rendered(self.folders.read("rendered"))
        return [
            *(NamedRegionsSuite(group, regions, namer) for group, regions in sets.items()),
            *(
                LabelTablesSuite(fusion.knowledge, language_model, vocabulary, share_word)
                for share_word, vocabulary in product((False, True), VOCABULARIES)
            ),
        ]

    def _rendered(self, name: str) -> list[Suite]:
        scenes = DetectedScenes(self.folders.read(name), self.backbones, self.label_fusion)
        questions = RenderedQuestionsSuite(name, scenes)
        if name == "rendered":
            return [RenderedDetectionsSuite(name, scenes, self._controls), questions]
        return [
            ContextLabelsSuite(name, scenes, self._controls),
            *self._choices(scenes),
            questions,
        ]

    def _choices(self, scenes: DetectedScenes) -> list[Suite]:
        fusion, probe = self.label_fusion, self.folders.probe
        if fusion is None or fusion.context is None or fusion.knowledge is None:
            self.progress("context choices: skipped, because no names of regions have a meaning")
            return []
        annotated = None if probe is None else RenderedScenes.read(probe)
        return [PairChoiceSuite("context", scenes, fusion, annotated)]

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
    def _controls(self) -> Controls | None:
        if self.folders.probe is None:
            return None
        # Controls do not use image tokens.
        backbones = replace(self.backbones, visual_encoder=None)
        return Controls(DetectedScenes(RenderedScenes.read(self.folders.probe), backbones))

    @cached_property
    def _synthetic_scenes(self) -> SyntheticScenes:
        return SyntheticScenes(self.scenes, doubtful=self.doubtful)

    @cached_property
    def _images(self) -> LabeledImages:
        return LabeledImages(Annotations.read(), self.backbones, label_fusion=self.label_fusion)


def _photographs() -> Annotations:
    return Annotations.read(PHOTOGRAPHS, "evaluation")


def _labeled_suites(images: LabeledImages, controls: Controls | None) -> list[Suite]:
    detections = LabeledDetectionsSuite(images, controls)
    return [detections, LabeledAnswersSuite(images), TrueBoxesSuite(images)]


def _hallucination_in(images: LabeledImages, group: str) -> HallucinationSuite:
    annotations = images.annotations
    return HallucinationSuite(
        images.examples, annotations.present, annotations.labels, f"hallucination, {group}"
    )
