# SPDX-License-Identifier: Apache-2.0
"""Settings of mrmllm_node, and the models that they select."""

from __future__ import annotations

from dataclasses import dataclass

from mrmllm_ros.answering.answerer import Answerer
from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.answering.vlm_answerer import VlmAnswerer, VlmSettings
from mrmllm_ros.compute import Compute, ComputeSettings
from mrmllm_ros.detection.detector import Detector, DetectorSettings, load_detector
from mrmllm_ros.detection.tracker import TrackingSettings
from mrmllm_ros.engine.question_worker import QuestionSettings
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.checkpoint import MrMllmSettings, read_config
from mrmllm_ros.model.language_model import LanguageModelSettings
from mrmllm_ros.model.prompt import PromptSettings
from mrmllm_ros.model.visual_encoder import VisualEncoderSettings
from mrmllm_ros.settings import Validated, group, setting


@dataclass(frozen=True)
class Settings(Validated):
    """Settings of models and questions."""

    answerer: str = setting(
        "mrmllm",
        "Model that answers: mrmllm (the fusion model), or hf_vlm for an image-text-to-text model "
        "of transformers with the same perception-embedded prompt.",
        choices=("mrmllm", "hf_vlm"),
    )
    enrich_rate_hz: float = setting(
        10.0,
        "Maximum rate of fusion passes over all cameras, in frames per second; 0 enriches only "
        "frames that questions are about. If the perception head needs the language model, two "
        "CPU cores reach about two frames per second.",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    )
    distance_max_age_s: float = setting(
        1.0,
        "Maximum age of the distance of a tracked object in seconds, by the images' stamps; "
        "distances come from object_distances of a localizer.",
        minimum=0.0,
        maximum=60.0,
        live=True,
    )
    compute: ComputeSettings = group(ComputeSettings)
    detector: DetectorSettings = group(DetectorSettings)
    tracking: TrackingSettings = group(TrackingSettings)
    visual_encoder: VisualEncoderSettings = group(VisualEncoderSettings)
    language_model: LanguageModelSettings = group(LanguageModelSettings)
    mrmllm: MrMllmSettings = group(MrMllmSettings)
    vlm: VlmSettings = group(VlmSettings)
    prompt: PromptSettings = group(PromptSettings)
    question: QuestionSettings = group(QuestionSettings)

    @property
    def trained(self) -> MrMllmSettings:
        """Settings of the trained weights; `auto` is resolved for the selected models."""
        return self.mrmllm.resolve(
            self.language_model.model, self.detector.model, self.visual_encoder.model
        )


@dataclass(frozen=True)
class Models:
    """Loaded detector and answerer."""

    detector: Detector
    answerer: Answerer

    @classmethod
    def load(cls, settings: Settings) -> Models:
        """Load the models onto the selected device.

        Raises:
            SettingsError: If the device does not exist.
            DetectorError: If the detector cannot be loaded.
            LanguageModelError: If the language model cannot be loaded.
            VisualEncoderError: If the visual encoder is needed and cannot be loaded.
            CheckpointError: If the trained weights cannot be read or fit other models.
            VlmError: If the image-text-to-text model cannot be loaded.
            WeightsError: If an embedded model is missing or damaged.
        """
        compute = Compute.from_settings(settings.compute)
        detector = load_detector(settings.detector, compute)
        return cls(detector, _load_answerer(settings, compute, detector))


def _load_answerer(settings: Settings, compute: Compute, detector: Detector) -> Answerer:
    if settings.answerer == "hf_vlm":
        return VlmAnswerer.load(settings.vlm, settings.prompt, compute)
    backbones = load_backbones(settings, compute, detector)
    return MrMllmAnswerer.load(settings.trained, settings.prompt, backbones)


def load_backbones(settings: Settings, compute: Compute, detector: Detector) -> Backbones:
    """Load the backbones, with the visual encoder only if the trained weights need it.

    Raises:
        LanguageModelError: If the language model cannot be loaded.
        VisualEncoderError: If the visual encoder is needed and cannot be loaded.
        CheckpointError: If the configuration of the trained weights cannot be read.
        WeightsError: If an embedded model is missing or damaged.
    """
    trained = settings.trained
    needs_image = trained.checkpoint and read_config(trained.source).needs_image
    visual_encoder = settings.visual_encoder if needs_image else None
    return Backbones.load(detector, settings.language_model, visual_encoder, compute)
