# SPDX-License-Identifier: Apache-2.0
"""Settings of the models; imports none of their libraries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mrmllm_ros.detection.detector import DetectorSettings
from mrmllm_ros.environment import expand
from mrmllm_ros.model.prompt import context_error
from mrmllm_ros.settings import SettingsError, Validated, setting

AUTO = "auto"
# Weights of ours that come with the package, for the embedded models.
EMBEDDED_CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "embedded"


@dataclass(frozen=True)
class LanguageModelSettings(Validated):
    """Language model."""

    model: str = setting(
        "smollm2-135m-instruct",
        "Embedded model (see `mrmllm models list`), folder, or model of the Hugging Face hub.",
    )
    quantization: str = setting(
        "auto",
        "Quantization of the language model: int8, none, or auto, which selects int8 on a CPU for "
        "models that support it, and none otherwise. On CUDA, int8 quantizes the weights with "
        "torchao.",
        choices=("auto", "none", "int8"),
    )
    trust_remote_code: bool = setting(
        False, "Whether to run code that comes with the model; only for models that you trust."
    )


@dataclass(frozen=True)
class VisualEncoderSettings(Validated):
    """Visual encoder."""

    model: str = setting(
        "efficientnet-lite0",
        "Embedded model (see `mrmllm models list`), folder, or vision model of the Hugging Face "
        "hub, such as SigLIP, CLIP, DINOv2 or ViT.",
    )


@dataclass(frozen=True)
class MrMllmSettings(Validated):
    """Trained weights of the fusion model, and context of the scene."""

    checkpoint: str = setting(
        AUTO,
        "Trained MR-MLLM weights: embedded (shipped with the package), a folder, or a repository "
        "of the Hugging Face hub. Empty disables the fusion: the language model answers from the "
        "prompt alone. auto selects embedded for the models that these weights were trained with, "
        "and disables the fusion for other models.",
    )
    head_uses_language_model: bool = setting(
        True,
        "Whether the perception head uses the language model, if it was trained to. The language "
        "model then processes every enriched frame, not only frames that questions are about.",
    )

    context: str = setting(
        "",
        "Place where the robot is, such as `a hospital corridor`, at most 200 characters. It is "
        "part of the prompt, and shifts doubtful labels to those that are likely there. Empty if "
        "unknown.",
        live=True,
    )

    def __post_init__(self) -> None:
        """Validate the settings; see `Validated`."""
        super().__post_init__()
        if error := context_error(self.context):
            raise SettingsError(f"context: {error}")

    @property
    def source(self) -> str:
        """Path or repository of the checkpoint; empty for none."""
        if not self.checkpoint:
            return ""
        if self.checkpoint == EMBEDDED_CHECKPOINT.name:
            return str(EMBEDDED_CHECKPOINT)
        folder = expand(self.checkpoint)
        return str(folder) if folder.is_dir() else self.checkpoint

    def resolve(self, language_model: str, detector: str, visual_encoder: str) -> MrMllmSettings:
        """Replace `auto` by the checkpoint for the chosen models.

        Args:
            language_model: Setting `language_model.model`.
            detector: Setting `detector.model`.
            visual_encoder: Setting `visual_encoder.model`.
        """
        if self.checkpoint != AUTO:
            return self
        # Imports transformers.
        from mrmllm_ros.model.checkpoint import read_config

        config = read_config(EMBEDDED_CHECKPOINT)
        made_for = (config.language_model, config.detector, config.visual_encoder)
        fits = made_for == (language_model, detector, visual_encoder)
        return replace(self, checkpoint=EMBEDDED_CHECKPOINT.name if fits else "")


@dataclass(frozen=True)
class EvidenceSettings(Validated):
    """Evidence about the labels of candidates."""

    visual_labels: str = setting(
        "auto",
        "Whether the visual encoder's names of image regions correct labels and scores: always, "
        "never, or auto, which corrects those of the embedded models, for which the correction "
        "was fitted.",
        choices=("auto", "always", "never"),
    )
    max_crops: int = setting(
        16,
        "Maximum number of regions of an image that the visual encoder names, those with the "
        "highest scores. Each costs about 10 ms on two CPU cores.",
        minimum=0,
        maximum=300,
    )

    def applies_to(self, detector: str, visual_encoder: str) -> bool:
        """Whether `visual_labels` corrects the labels of these models; resolves `auto`.

        Args:
            detector: Setting `detector.model`.
            visual_encoder: Setting `visual_encoder.model`.
        """
        if self.visual_labels != "auto":
            return self.visual_labels == "always"
        embedded = (DetectorSettings.model, VisualEncoderSettings.model)
        return (detector, visual_encoder) == embedded


@dataclass(frozen=True)
class VlmSettings(Validated):
    """Vision-language model."""

    model: str = setting(
        "",
        "Image-text-to-text model of transformers for the answerer hf_vlm: folder, or model of "
        "the Hugging Face hub.",
    )
    quantization: str = setting(
        "auto",
        "Quantization of the language model: int8, none, or auto, which selects int8 on a CPU for "
        "models that support it, and none otherwise. On CUDA, int8 quantizes the weights with "
        "torchao.",
        choices=("auto", "none", "int8"),
    )
    trust_remote_code: bool = setting(
        False, "Whether to run code that comes with the model; only for models that you trust."
    )
