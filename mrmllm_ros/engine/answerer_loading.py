# SPDX-License-Identifier: Apache-2.0
"""Load the model that answers, with transformers."""

from __future__ import annotations

from dataclasses import replace

from mrmllm_ros.answering.answerer import Answerer
from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.answering.vlm_answerer import VlmAnswerer
from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.detector import Detector
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.engine.models import Progress, silent, timed
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.checkpoint import read_config
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.visual_encoder import VisualEncoder


def load_answerer(
    settings: Settings, compute: Compute, detector: Detector, progress: Progress = silent
) -> Answerer:
    """Load the model that answers; the setting `answerer` must name one.

    Args:
        settings: Choice of the models.
        compute: Device and precision.
        detector: The loaded detector.
        progress: Called with a line of text for each loaded model.

    Raises:
        LanguageModelError: If the language model cannot be loaded.
        VisualEncoderError: If the visual encoder is needed and cannot be loaded.
        CheckpointError: If the trained weights cannot be read or fit other models.
        VlmError: If the image-text-to-text model cannot be loaded.
        WeightsError: If an embedded model is missing or damaged.
    """
    if settings.answerer == "hf_vlm":
        with timed(f"vision-language model {settings.vlm.model}", progress):
            vlm = VlmAnswerer.load(settings.vlm, settings.prompt, compute)
            vlm.set_context(settings.mrmllm.context)
            return vlm
    backbones = load_backbones(settings, compute, detector, progress)
    with timed(f"fusion weights {settings.trained.checkpoint or 'none'}", progress):
        answerer = MrMllmAnswerer.load(settings.trained, settings.prompt, backbones)
        answerer.label_fusion = load_label_fusion(settings, backbones)
        answerer.set_context(settings.mrmllm.context)
        if answerer.label_fusion is not None and answerer.label_fusion.context is not None:
            # Otherwise a command on one image would end before a context is scored.
            answerer.label_fusion.context.wait()
    return answerer


def load_backbones(
    settings: Settings, compute: Compute, detector: Detector, progress: Progress = silent
) -> Backbones:
    """Load the backbones, with the visual encoder only if something needs it.

    Args:
        settings: Choice of the models.
        compute: Device and precision.
        detector: The loaded detector.
        progress: Called with a line of text for each loaded model.

    Raises:
        LanguageModelError: If the language model cannot be loaded.
        VisualEncoderError: If the visual encoder is needed and cannot be loaded.
        CheckpointError: If the configuration of the trained weights cannot be read.
        WeightsError: If an embedded model is missing or damaged.
    """
    trained = settings.trained
    needs_image = trained.checkpoint and read_config(trained.source).needs_image
    needs_encoder = needs_image or settings.uses_visual_labels
    with timed(f"language model {settings.language_model.model}", progress):
        language_model = LanguageModel.load(settings.language_model, compute, trained.source)
    if not needs_encoder:
        return Backbones(language_model, detector)
    with timed(f"visual encoder {settings.visual_encoder.model}", progress):
        return Backbones(
            language_model, detector, VisualEncoder.load(settings.visual_encoder, compute)
        )


def load_label_fusion(settings: Settings, backbones: Backbones) -> LabelFusion | None:
    """Create the correction of labels that the settings ask for.

    Args:
        settings: Settings of the models.
        backbones: Loaded backbones; the language model may have the adapters of a checkpoint.

    Raises:
        SettingsError: If the visual encoder cannot name regions.
        VisualEncoderError: If its text encoder cannot be loaded.
    """
    if not settings.uses_visual_labels:
        return None
    return LabelFusion.create(
        backbones,
        settings.evidence.max_crops,
        lambda: _without_adapters(settings, backbones.language_model),
    )


def _without_adapters(settings: Settings, language_model: LanguageModel) -> LanguageModel:
    """The language model in floating point and without adapters: itself, or a second copy."""
    if not language_model.has_adapters and not language_model.is_quantized:
        return language_model
    chosen = replace(settings.language_model, quantization="none")
    return LanguageModel.load(chosen, Compute.from_settings(settings.compute))
