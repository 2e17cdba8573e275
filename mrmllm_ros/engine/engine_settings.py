# SPDX-License-Identifier: Apache-2.0
"""Settings of mrmllm_node: models, tracking, prompt and questions."""

from __future__ import annotations

from dataclasses import dataclass

from mrmllm_ros.compute import ComputeSettings
from mrmllm_ros.detection.detector import DetectorSettings
from mrmllm_ros.detection.tracker import TrackingSettings
from mrmllm_ros.engine.question_worker import QuestionSettings
from mrmllm_ros.engine.scheduler import EnrichmentSettings
from mrmllm_ros.model.model_settings import (
    EvidenceSettings,
    LanguageModelSettings,
    MrMllmSettings,
    VisualEncoderSettings,
    VlmSettings,
)
from mrmllm_ros.model.prompt import PromptSettings
from mrmllm_ros.settings import Validated, group, setting


@dataclass(frozen=True)
class Settings(Validated):
    """Settings of models and questions."""

    answerer: str = setting(
        "mrmllm",
        "Model that answers: mrmllm (the fusion model), hf_vlm for an image-text-to-text model of "
        "transformers with the same perception-embedded prompt, or none for detection and "
        "tracking only.",
        choices=("mrmllm", "hf_vlm", "none"),
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
    enrichment: EnrichmentSettings = group(EnrichmentSettings)
    compute: ComputeSettings = group(ComputeSettings)
    detector: DetectorSettings = group(DetectorSettings)
    tracking: TrackingSettings = group(TrackingSettings)
    visual_encoder: VisualEncoderSettings = group(VisualEncoderSettings)
    language_model: LanguageModelSettings = group(LanguageModelSettings)
    mrmllm: MrMllmSettings = group(MrMllmSettings)
    vlm: VlmSettings = group(VlmSettings)
    evidence: EvidenceSettings = group(EvidenceSettings)
    prompt: PromptSettings = group(PromptSettings)
    question: QuestionSettings = group(QuestionSettings)

    @property
    def trained(self) -> MrMllmSettings:
        """Settings of the trained weights; `auto` is resolved for the selected models."""
        return self.mrmllm.resolve(
            self.language_model.model, self.detector.model, self.visual_encoder.model
        )

    @property
    def answering_model(self) -> str:
        """Name of the model that answers; empty without one."""
        models = {"mrmllm": self.language_model.model, "hf_vlm": self.vlm.model}
        return models.get(self.answerer, "")

    @property
    def uses_visual_labels(self) -> bool:
        """Whether the visual encoder corrects labels; `auto` is resolved for the models."""
        if self.answerer != "mrmllm":
            return False
        return self.evidence.applies_to(self.detector.model, self.visual_encoder.model)
