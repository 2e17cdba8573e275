# SPDX-License-Identifier: Apache-2.0
"""Ablations: variants of a model with one mechanism off, and the untrained language model.

Training drops mechanisms at random, so that a model works in each of these states and the
difference measures the mechanism alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.evaluation import label_tables
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.model_settings import MrMllmSettings
from mrmllm_ros.model.prompt import PromptSettings
from mrmllm_ros.weights import WeightsError, locate

FULL = "full"
DETECTOR_ALONE = "detector alone"
NO_LANGUAGE_MODEL = "no pass through the language model"
UNTRAINED = "untrained language model"
# Configuration field that each variant switches off.
SWITCHES = {
    "no query fusion": "query_fusion",
    "no prefix tokens": "prefix_tokens",
    "no perception prompt": "perception_prompt",
    # The head then uses the query tokens without the language model.
    NO_LANGUAGE_MODEL: "head_uses_language_model",
}
NO_VISUAL_LABELS = "no visual labels"
# Variants with another judge of what the names of regions mean.
STRING_MATCH = "visual labels by string match"
EMBEDDINGS = "visual labels by static embeddings"
WORDNET = "visual labels by WordNet"
LABEL_TABLES = {
    STRING_MATCH: label_tables.string_table,
    EMBEDDINGS: label_tables.embedding_table,
    WORDNET: label_tables.wordnet_table,
}
VARIANTS = (FULL, *SWITCHES, NO_VISUAL_LABELS, *LABEL_TABLES, DETECTOR_ALONE, UNTRAINED)
# Variants that can change answers, and variants that can change detections.
ANSWER_VARIANTS = (
    FULL,
    "no query fusion",
    "no prefix tokens",
    "no perception prompt",
    NO_VISUAL_LABELS,
    UNTRAINED,
)
DETECTION_VARIANTS = (
    FULL,
    DETECTOR_ALONE,
    "no query fusion",
    NO_LANGUAGE_MODEL,
    "no perception prompt",
    NO_VISUAL_LABELS,
    *LABEL_TABLES,
)


@dataclass(frozen=True, eq=False)
class EvaluatedModels:
    """Models to evaluate.

    Attributes:
        backbones: Loaded backbones; the trained weights are merged into the language model.
        trained: Checkpoint; empty for an untrained model.
        prompt: Settings of the prompt.
        load_language_model: Loads another copy of the language model, without trained weights.
        load_label_fusion: Creates the correction of labels for backbones, or None.
    """

    backbones: Backbones
    trained: MrMllmSettings
    prompt: PromptSettings
    load_language_model: Callable[[], LanguageModel]
    load_label_fusion: Callable[[Backbones], LabelFusion | None] = lambda _: None


class Ablation:
    """Provides the answerer of each variant.

    Attributes:
        label_fusion: Correction of the detector's labels, or None.

    All variants but the untrained one share the loaded models, so that only one may be used at a
    time.
    """

    def __init__(self, models: EvaluatedModels) -> None:
        """Load the trained weights.

        Raises:
            CheckpointError: If the checkpoint cannot be read or was made for other backbones.
        """
        self._models = models
        self._full = MrMllmAnswerer.load(models.trained, models.prompt, models.backbones)
        self.label_fusion = models.load_label_fusion(models.backbones)
        if self.label_fusion is not None:
            self.label_fusion.wait()
        self._full.label_fusion = self.label_fusion
        self._vocabulary: tuple[str, ...] = self._full.processor.vocabulary

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """Let all variants choose from these labels; waits until they are scored.

        Raises:
            FixedVocabularyError: If the model can only use the detector's labels.
        """
        self._full.set_vocabulary(labels)
        self._vocabulary = self._full.processor.vocabulary
        if self.label_fusion is not None:
            self.label_fusion.wait()

    @property
    def config(self) -> MrMllmConfig:
        """The configuration of the trained model."""
        return self._full.model.config

    def variants(self, among: Sequence[str]) -> tuple[str, ...]:
        """Select the variants that differ from the full model, which is always included.

        A mechanism that the model was trained without cannot be switched off.
        """
        trained = bool(self._models.trained.checkpoint)
        available = [FULL, *(name for name, switch in SWITCHES.items() if self._has(switch))]
        if self.label_fusion is not None:
            available += [NO_VISUAL_LABELS, *self._label_tables()]
        if self.label_fusion is not None or self.config.perception_outputs:
            available += [DETECTOR_ALONE]
        available += [UNTRAINED] if trained else []
        return tuple(name for name in among if name in available)

    @contextmanager
    def answerer(self, variant: str) -> Iterator[MrMllmAnswerer]:
        """Provide the answerer of a variant as a context manager.

        `DETECTOR_ALONE` gives the full answerer, whose results contain the detector's objects.

        Raises:
            ValueError: If the variant is unknown.
        """
        if variant in (FULL, DETECTOR_ALONE):
            yield self._full
        elif variant == UNTRAINED:
            yield self._untrained()
        elif variant in SWITCHES:
            with self._full.model.without(SWITCHES[variant]):
                yield self._another(self.label_fusion)
        elif variant == NO_VISUAL_LABELS:
            yield self._another(None)
        elif variant in LABEL_TABLES:
            with self._using(LABEL_TABLES[variant]):
                yield self._full
        else:
            raise ValueError(f"unknown variant {variant!r}; choose from {', '.join(VARIANTS)}")

    def _label_tables(self) -> Iterator[str]:
        """Variants of the table; that of WordNet only if WordNet has been fetched."""
        if self.label_fusion.knowledge is None:
            return
        yield from (STRING_MATCH, EMBEDDINGS)
        with suppress(WeightsError):
            locate(label_tables.WORDNET)
            yield WORDNET

    def _another(self, label_fusion: LabelFusion | None) -> MrMllmAnswerer:
        models = self._models
        answerer = MrMllmAnswerer(self._full.model, models.backbones, models.prompt)
        answerer.processor.vocabulary = self._vocabulary
        answerer.label_fusion = label_fusion
        return answerer

    @contextmanager
    def _using(self, make_table: label_tables.TableFactory) -> Iterator[None]:
        fusion, names = self.label_fusion, self.label_fusion.classifier.names
        before = fusion.table
        fusion.table = make_table(fusion.labels, names, self._models.backbones.language_model)
        try:
            yield
        finally:
            fusion.table = before

    def _has(self, switch: str) -> bool:
        if switch == "head_uses_language_model":
            return self.config.head_needs_language_model
        return bool(getattr(self.config, switch))

    def _untrained(self) -> MrMllmAnswerer:
        # With another copy of the language model: the trained weights are merged into the first.
        models = self._models
        backbones = replace(models.backbones, language_model=models.load_language_model())
        answerer = MrMllmAnswerer.load(MrMllmSettings(""), models.prompt, backbones)
        answerer.processor.vocabulary = self._vocabulary
        answerer.label_fusion = self.label_fusion
        return answerer
