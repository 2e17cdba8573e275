# SPDX-License-Identifier: Apache-2.0
"""Load the models that the settings select."""

from __future__ import annotations

from dataclasses import dataclass

from mrmllm_ros.answering.answerer import Answerer
from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.answering.vlm_answerer import VlmAnswerer
from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.detector import Detector, load_detector
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.checkpoint import read_config


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
