# SPDX-License-Identifier: Apache-2.0
"""Frozen models that the fusion model connects."""

from __future__ import annotations

from dataclasses import dataclass

from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.detector import Detector
from mrmllm_ros.model.checkpoint import CheckpointError
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
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
        checkpoint: str = "",
    ) -> Backbones:
        """Load the language model and the visual encoder.

        Args:
            detector: The loaded detector.
            language_model: Settings of the language model.
            visual_encoder: Settings of the visual encoder; None for no visual encoder.
            compute: Device and precision.
            checkpoint: MR-MLLM checkpoint with adapters to merge into the language model; empty
                for none.

        Raises:
            LanguageModelError: If the language model cannot be loaded.
            VisualEncoderError: If the visual encoder cannot be loaded.
            CheckpointError: If the checkpoint cannot be read.
            WeightsError: If an embedded model is missing or damaged.
        """
        return cls(
            language_model=LanguageModel.load(language_model, compute, checkpoint),
            detector=detector,
            visual_encoder=visual_encoder and VisualEncoder.load(visual_encoder, compute),
        )


def check_backbones(config: MrMllmConfig, backbones: Backbones) -> None:
    """Check that a configuration was made for these backbones.

    Raises:
        CheckpointError: If a backbone is missing, or its name or revision differs.
    """
    needed = ["language_model"]
    needed += ["visual_encoder"] if config.needs_image else []
    needed += ["detector"] if config.has_queries and config.detector else []
    for field in needed:
        kind = field.replace("_", " ")
        wanted = (getattr(config, field), getattr(config, f"{field}_revision"))
        backbone = getattr(backbones, field)
        if backbone is None:
            raise CheckpointError(f"the {kind} {_named(*wanted)} is required but not loaded")
        given = (backbone.name, backbone.revision)
        same_state = "" in (wanted[1], given[1]) or wanted[1] == given[1]
        if wanted[0] != given[0] or not same_state:
            raise CheckpointError(
                f"made for the {kind} {_named(*wanted)}, not for {_named(*given)}; set the "
                f"parameter {field}.model to it, or choose another checkpoint"
            )
    detector_width = backbones.detector.feature_width
    if "detector" in needed and detector_width != config.perception_hidden_size:
        raise CheckpointError(
            f"made for detector features of size {config.perception_hidden_size}, but the "
            f"detector {backbones.detector.name!r} gives {detector_width or 'none'}; set "
            "the parameter detector.model to the detector that the checkpoint was trained with"
        )


def _named(name: str, revision: str) -> str:
    return f"{name!r}, revision {revision}" if revision else repr(name)
