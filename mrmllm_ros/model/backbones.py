# SPDX-License-Identifier: Apache-2.0
"""The frozen models that MR-MLLM joins."""

from __future__ import annotations

from dataclasses import dataclass

from mrmllm_ros.detection.detector import Detector
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.visual_encoder import VisualEncoder


@dataclass(frozen=True, eq=False)
class Backbones:
    """The frozen models that an `MrMllm` joins.

    Attributes:
        language_model: The language model.
        detector: The detector whose candidates the model reads.
        visual_encoder: The visual encoder, or None where the switches leave it out.
    """

    language_model: LanguageModel
    detector: Detector
    visual_encoder: VisualEncoder | None = None
