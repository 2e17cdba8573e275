# SPDX-License-Identifier: Apache-2.0
"""The ablation: the same weights with one mechanism off, and what there was before training.

Mechanisms are dropped at random in training, so that a model knows each of these states, and what
is measured is a mechanism's worth and not a shock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.checkpoint import MrMllmSettings
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.prompt import PromptSettings

FULL = "full"
DETECTOR_ALONE = "detector alone"
NO_LANGUAGE_MODEL = "no pass through the language model"
UNTRAINED = "untrained language model"
# The field of the configuration that each variant switches off.
SWITCHES = {
    "no query fusion": "query_fusion",
    "no prefix tokens": "prefix_tokens",
    "no perception prompt": "perception_prompt",
    # The head then judges by the query tokens as they were before the language model.
    NO_LANGUAGE_MODEL: "head_uses_language_model",
}
VARIANTS = (FULL, *SWITCHES, DETECTOR_ALONE, UNTRAINED)
# What changes answers, and what changes detections.
ANSWER_VARIANTS = (FULL, "no query fusion", "no prefix tokens", "no perception prompt", UNTRAINED)
DETECTION_VARIANTS = (
    FULL,
    DETECTOR_ALONE,
    "no query fusion",
    NO_LANGUAGE_MODEL,
    "no perception prompt",
)


@dataclass(frozen=True, eq=False)
class EvaluatedModels:
    """The models that are examined.

    Attributes:
        backbones: As loaded; the language model gets the trained weights merged into it.
        trained: Which trained weights; none leaves only what needs none.
        prompt: Limits of the prompt.
        load_language_model: Loads the language model once more, as it was before training.
    """

    backbones: Backbones
    trained: MrMllmSettings
    prompt: PromptSettings
    load_language_model: Callable[[], LanguageModel]


class Ablation:
    """Gives the answerer of each variant.

    Backbones and trained weights are loaded once and serve all variants but the untrained one, so
    that only the last one that was given may be used.
    """

    def __init__(self, subject: EvaluatedModels) -> None:
        """Load the trained weights.

        Raises:
            CheckpointError: If they cannot be read or are for other backbones.
        """
        self._subject = subject
        self._full = MrMllmAnswerer.load(subject.trained, subject.prompt, subject.backbones)

    @property
    def config(self) -> MrMllmConfig:
        """The configuration of the trained model."""
        return self._full.model.config

    def variants(self, among: Sequence[str]) -> tuple[str, ...]:
        """Those of some variants that differ from the full model.

        A mechanism that the weights were trained without can't be switched off.
        """
        trained = bool(self._subject.trained.checkpoint)
        left = [name for name in among if name in SWITCHES and self._has(SWITCHES[name])]
        left += [DETECTOR_ALONE] if self.config.perception_outputs else []
        left += [UNTRAINED] if trained else []
        return tuple(name for name in among if name == FULL or name in left)

    @contextmanager
    def answerer(self, variant: str) -> Iterator[MrMllmAnswerer]:
        """The answerer of a variant, for as long as this lasts.

        That of `DETECTOR_ALONE` is the full one: what it does not change is the detector's.

        Raises:
            ValueError: If there is no such variant.
        """
        if variant in (FULL, DETECTOR_ALONE):
            yield self._full
        elif variant == UNTRAINED:
            yield self._untrained()
        elif variant in SWITCHES:
            with self._full.model.without(SWITCHES[variant]):
                subject = self._subject
                yield MrMllmAnswerer(self._full.model, subject.backbones, subject.prompt)
        else:
            raise ValueError(f"there is no variant {variant!r}; known: {', '.join(VARIANTS)}")

    def _has(self, switch: str) -> bool:
        if switch == "head_uses_language_model":
            return self.config.head_needs_language_model
        return bool(getattr(self.config, switch))

    def _untrained(self) -> MrMllmAnswerer:
        # Its own language model: the trained weights are merged into the other one.
        subject = self._subject
        backbones = replace(subject.backbones, language_model=subject.load_language_model())
        return MrMllmAnswerer.load(MrMllmSettings(""), subject.prompt, backbones)
