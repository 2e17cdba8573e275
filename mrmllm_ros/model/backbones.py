# SPDX-License-Identifier: Apache-2.0
"""Frozen models that the fusion model connects."""

from __future__ import annotations

from dataclasses import dataclass

from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.detector import Detector
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.model_settings import LanguageModelSettings, VisualEncoderSettings
from mrmllm_ros.model.visual_encoder import VisualEncoder


@dataclass(frozen=True, eq=False)
class Backbones:
    """Frozen models of an `MrMllm`.

    Attributes:
        language_model: The language model.
        detector: The detector, which provides the candidates.
        visual_encoder: The visual encoder, or None if no mechanism needs it.
    """

    language_model: LanguageModel
    detector: Detector
    visual_encoder: VisualEncoder | None = None

    @classmethod
    def load(
        cls,
        detector: Detector,
        language_model: LanguageModelSettings,
        visual_encoder: VisualEncoderSettings | None,
        compute: Compute,
    ) -> Backbones:
        """Load the language model and the visual encoder.

        Args:
            detector: The loaded detector.
            language_model: Settings of the language model.
            visual_encoder: Settings of the visual encoder; None for no visual encoder.
            compute: Device and precision.

        Raises:
            LanguageModelError: If the language model cannot be loaded.
            VisualEncoderError: If the visual encoder cannot be loaded.
            WeightsError: If an embedded model is missing or damaged.
        """
        return cls(
            language_model=LanguageModel.load(language_model, compute),
            detector=detector,
            visual_encoder=visual_encoder and VisualEncoder.load(visual_encoder, compute),
        )
