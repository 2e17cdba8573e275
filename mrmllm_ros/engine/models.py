# SPDX-License-Identifier: Apache-2.0
"""The models that work together, and the settings that choose them."""

from __future__ import annotations

from dataclasses import dataclass

from mrmllm_ros.compute import Compute, ComputeSettings
from mrmllm_ros.engine.question_worker import QuestionSettings
from mrmllm_ros.model.answerer import Answerer, PromptAnswerer
from mrmllm_ros.model.language_model import LanguageModel, LanguageModelSettings
from mrmllm_ros.model.prompt import PromptSettings
from mrmllm_ros.perception.detector import Detector, DetectorSettings, load_detector
from mrmllm_ros.settings import Validated, group


@dataclass(frozen=True)
class Settings(Validated):
    """Everything that a user can choose about models and questions."""

    compute: ComputeSettings = group(ComputeSettings)
    detector: DetectorSettings = group(DetectorSettings)
    language_model: LanguageModelSettings = group(LanguageModelSettings)
    prompt: PromptSettings = group(PromptSettings)
    question: QuestionSettings = group(QuestionSettings)


@dataclass(frozen=True)
class Models:
    """A detector, and an answerer that reads what it finds."""

    detector: Detector
    answerer: Answerer

    @classmethod
    def load(cls, settings: Settings) -> Models:
        """Load both onto the device that the settings name.

        Raises:
            SettingsError: If the device is not on this machine.
            DetectorError: If the detector cannot be loaded.
            LanguageModelError: If the language model cannot be loaded.
            WeightsError: If an embedded model is missing or damaged.
        """
        compute = Compute.from_settings(settings.compute)
        language_model = LanguageModel.load(settings.language_model, compute)
        return cls(
            detector=load_detector(settings.detector, compute),
            answerer=PromptAnswerer(language_model, settings.prompt),
        )
