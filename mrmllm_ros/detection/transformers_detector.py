# SPDX-License-Identifier: Apache-2.0
"""Detectors of Hugging Face transformers: DETR family and open-vocabulary models."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from transformers import (
    MODEL_FOR_OBJECT_DETECTION_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForObjectDetection,
    AutoModelForZeroShotObjectDetection,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.boxes import non_max_suppression
from mrmllm_ros.detection.detector import (
    Detector,
    DetectorError,
    DetectorSettings,
    LabelScores,
    Perception,
    VocabularyError,
)
from mrmllm_ros.detection.raw_objects import BAD_SCORE, RawObjects, class_labels
from mrmllm_ros.weights.catalog import CATALOG
from mrmllm_ros.weights.pretrained import (
    ShapeMismatchError,
    load_weights,
    loading,
    resolve,
    revision,
    safe_options,
)

PHRASE_MODELS = ("grounding-dino", "mm-grounding-dino")
QUERY_MODELS = ("owlvit", "owlv2")
_DEFAULT_NAME = re.compile(r"LABEL_\d+")  # of transformers, for a class without a name


@dataclass(frozen=True, eq=False)
class _Prompt:
    """Text inputs of an open-vocabulary model for one image.

    Attributes:
        inputs: Input tensors; repeated for each image of a batch.
        token_weights: (L, T) weight of each text token in the score of each label, or None if
            the model returns scores of labels.
    """

    inputs: dict[str, torch.Tensor]
    token_weights: torch.Tensor | None = None


class TransformersDetector(Detector):
    """Any `AutoModelForObjectDetection`, Grounding DINO, OWL-ViT or OWLv2.

    The features of an object are the last hidden state of its decoder query; for OWL-ViT and
    OWLv2, which have no decoder, the class embedding of its image patch.

    Processors that keep the aspect ratio pad a batch to its largest image, so scores differ
    slightly from those of single images.
    """

    def __init__(self, settings: DetectorSettings, compute: Compute) -> None:
        """Load the model and run it once.

        Raises:
            DetectorError: If the model is missing, unreadable or not a detector, or does not
                support the vocabulary.
        """
        if settings.model in CATALOG:
            raise DetectorError(
                f"detector.model: {settings.model} is embedded and not supported by transformers; "
                "name a folder or a model of the Hugging Face hub, or set the parameter "
                "detector.backend to ultralytics"
            )
        named = ("detector", settings.model, "detector.model", DetectorError)
        source = resolve(*named)
        self.name = Path(source).name
        self.labels = ()
        self._compute = compute
        try:
            with loading(*named):
                self._load(source)
                self.configure(settings)
                if self._tokenizer is not None:
                    self.set_vocabulary(settings.initial_labels)
                [warm_up] = self.detect([np.zeros((480, 640, 3), np.uint8)])
        except VocabularyError as error:
            raise DetectorError(f"detector.vocabulary: {error}") from error
        self.feature_width = 0 if warm_up.features is None else warm_up.features.shape[1]

    def configure(self, settings: DetectorSettings) -> None:
        """See `Detector.configure`."""
        self._settings = settings

    @torch.no_grad()
    def detect(self, images: Sequence[np.ndarray]) -> list[Perception]:
        """See `Detector.detect`."""
        if not images:
            return []
        # Another thread may replace the settings.
        settings = self._settings
        outputs = self._model(**self._inputs(images))
        logits, boxes = self._logits(outputs).float(), outputs.pred_boxes.float()
        # Thresholds drop NaN, but top-k prefers it.
        broken = logits.isnan().any(-1)  # (B, Q)
        logits = logits.masked_fill(broken[..., None], -torch.inf)
        results = self._post_process(
            logits, boxes, settings.minimum_score, [image.shape[:2] for image in images]
        )
        # Processors do not return the queries of boxes: post-process query indices like boxes.
        index = torch.arange(boxes.shape[1], dtype=torch.float32, device=boxes.device)
        indices = index[:, None] * torch.tensor([1.0, 0, 0, 0], device=boxes.device)
        processed = self._post_process(logits, indices.expand_as(boxes), settings.minimum_score)
        queries = [result["boxes"][:, 0].long() for result in processed]
        states = _query_states(outputs, boxes.shape[1])
        return [
            self._perception(
                result,
                image.shape[1::-1],
                logits[i, queries[i]],
                None if states is None else states[i, queries[i]],
                Counter({BAD_SCORE: int(broken[i].sum())}),
                settings,
            )
            for i, (image, result) in enumerate(zip(images, results, strict=True))
        ]

    def _load(self, source: str) -> None:
        options = safe_options(source)
        config = AutoConfig.from_pretrained(source, **options)
        zero_shot = config.model_type in PHRASE_MODELS + QUERY_MODELS
        if not zero_shot and type(config) not in MODEL_FOR_OBJECT_DETECTION_MAPPING:
            raise ValueError(f"the model type {config.model_type} is not a supported detector")
        auto = AutoModelForZeroShotObjectDetection if zero_shot else AutoModelForObjectDetection
        try:
            model = load_weights(auto, source, dtype=self._compute.dtype, **options)
        except ShapeMismatchError as error:
            raise _class_mismatch(error, config) from error
        self._model = model.to(self._compute.device).eval()
        self._processor = AutoImageProcessor.from_pretrained(source, **options)
        self._tokenizer = None
        if zero_shot:
            self._tokenizer = AutoTokenizer.from_pretrained(source, **options)
        else:
            self._names = class_labels(config.id2label, config.num_labels)
            self.labels = tuple(dict.fromkeys(self._names.values()))
            if all(map(_DEFAULT_NAME.fullmatch, self.labels)):
                logging.getLogger(__name__).warning(
                    "%s has no names for its %d classes, only defaults such as %s; add id2label "
                    "to its config.json",
                    self.name,
                    config.num_labels,
                    self.labels[0],
                )
        self.revision = revision(source)

    def _set_vocabulary(self, labels: tuple[str, ...]) -> None:
        if self._tokenizer is None:
            super()._set_vocabulary(labels)
        make = _phrases if self._model.config.model_type in PHRASE_MODELS else _queries
        prompt = make(labels, self._tokenizer, self._model.config)
        device, weights = self._compute.device, prompt.token_weights
        self._prompt = _Prompt(
            {name: value.to(device) for name, value in prompt.inputs.items()},
            None if weights is None else weights.to(device),
        )
        self._names = dict(enumerate(labels))

    def _inputs(self, images: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        inputs = self._processor(
            images=[cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images],
            input_data_format="channels_last",
            return_tensors="pt",
        ).to(self._compute.device, self._compute.dtype)
        if self._tokenizer is None:
            return dict(inputs)
        texts = self._prompt.inputs.items()
        return {**inputs, **{name: text.repeat(len(images), 1) for name, text in texts}}

    def _logits(self, outputs: Any) -> torch.Tensor:
        """(B, Q, L) logits of the labels."""
        if self._tokenizer is None or self._prompt.token_weights is None:
            return outputs.logits
        probabilities = outputs.logits.float().sigmoid() @ self._prompt.token_weights.T
        # Rounding of the weights may exceed 1.
        return torch.logit(probabilities.clamp(max=1))

    def _post_process(
        self,
        logits: torch.Tensor,
        boxes: torch.Tensor,
        minimum_score: float,
        sizes: list[tuple[int, int]] | None = None,
    ) -> list[dict[str, torch.Tensor]]:
        """Apply the processor of the model, which knows how its family computes scores."""
        return self._processor.post_process_object_detection(
            SimpleNamespace(logits=logits, pred_boxes=boxes),
            threshold=minimum_score,
            target_sizes=sizes,
        )

    def _perception(
        self,
        result: dict[str, torch.Tensor],
        resolution_wh: tuple[int, int],
        logits: torch.Tensor,
        states: torch.Tensor | None,
        dropped: Counter[str],
        settings: DetectorSettings,
    ) -> Perception:
        raw = RawObjects(*(result[name].cpu().numpy() for name in ("boxes", "scores", "labels")))
        checked = raw.check(self._names, resolution_wh)
        candidates = checked.detections
        kept = non_max_suppression(
            candidates.xyxy,
            candidates.scores,
            settings.iou_threshold,
            raw.class_ids[checked.indices],
        )[: settings.max_detections]
        indices = checked.indices[kept]
        return Perception.ranked(
            candidates.take(kept),
            settings.score_threshold,
            None if states is None else states[indices],
            checked.dropped + dropped,
            _label_scores(
                self._names, logits[indices], raw.class_ids[indices], raw.scores[indices]
            ),
        )


def _class_mismatch(error: ShapeMismatchError, config: PreTrainedConfig) -> ValueError:
    """Error with both numbers of classes if they differ, otherwise the given error."""
    names = config.num_labels
    for (stored, *_), (expected, *_) in error.shapes.values():
        # Some families have an additional class for "no object".
        if expected - names in (0, 1):
            return ValueError(
                f"it has {stored - (expected - names)} classes, but names for {names}; correct "
                "id2label in its config.json"
            )
    return error


def _label_scores(
    names: dict[int, str], logits: torch.Tensor, class_ids: np.ndarray, scores: np.ndarray
) -> LabelScores | None:
    """Scores of all labels, or None if the processor computes scores in another way.

    Args:
        names: Labels by class id.
        logits: (K, classes) logits, which may include a class for "no object".
        class_ids: (K,) class ids from the processor.
        scores: (K,) scores of these classes from the processor.
    """
    for probabilities in (logits.sigmoid(), logits.softmax(-1)):
        class_scores = probabilities.cpu().numpy()
        if np.allclose(class_scores[np.arange(len(scores)), class_ids], scores, atol=1e-5):
            return LabelScores.of_classes(names, class_scores)
    return None


def _query_states(outputs: Any, queries: int) -> torch.Tensor | None:
    """(B, Q, d_p) hidden states of the queries, if the model returns them."""
    states = getattr(outputs, "class_embeds", None)
    if states is None:
        states = getattr(outputs, "last_hidden_state", None)
    # The queries of YOLOS follow the image patches.
    return None if states is None else states[:, -queries:]


def _phrases(
    labels: tuple[str, ...], tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig
) -> _Prompt:
    """Prompt of Grounding DINO: all labels in one text, each followed by a full stop.

    The score of a label is the mean over its tokens, as in the authors' evaluation; the maximum
    would confuse a `traffic light` with a `traffic cone`.
    """
    if dotted := [label for label in labels if "." in label]:
        raise VocabularyError(
            f"{dotted[0]!r} contains a full stop, which separates labels; remove it"
        )
    phrases = [label.lower() for label in labels]
    inputs = tokenizer(". ".join(phrases) + ".", return_tensors="pt")
    width = config.max_text_len
    length = inputs["input_ids"].shape[1]
    if length > width:
        raise VocabularyError(
            f"the labels have {length} tokens, but the model supports at most {width}; use fewer"
        )
    token_weights = torch.zeros(len(labels), width)
    start = 1
    for row, phrase in zip(token_weights, phrases, strict=True):
        end = start + len(tokenizer(phrase, add_special_tokens=False)["input_ids"])
        if end == start:
            raise VocabularyError(f"the tokenizer of the model has no token for {phrase!r}")
        row[start:end] = 1 / (end - start)
        start = end + 1
    return _Prompt(dict(inputs), token_weights)


def _queries(
    labels: tuple[str, ...], tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig
) -> _Prompt:
    """Prompt of OWL-ViT: one text per label, with the template of its training."""
    inputs = tokenizer(
        [f"a photo of a {label}" for label in labels],
        padding="max_length",
        truncation=True,
        max_length=config.text_config.max_position_embeddings,
        return_tensors="pt",
    )
    return _Prompt(dict(inputs))
