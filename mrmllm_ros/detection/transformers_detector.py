# SPDX-License-Identifier: Apache-2.0
"""Detectors of the DETR family and detectors led by texts, through Hugging Face transformers."""

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
)

PHRASE_MODELS = ("grounding-dino", "mm-grounding-dino")
QUERY_MODELS = ("owlvit", "owlv2")
# The name that transformers gives to a class without one.
_PLACEHOLDER = re.compile(r"LABEL_\d+")


@dataclass(frozen=True, eq=False)
class _Prompt:
    """What a model led by texts is told for one image.

    Attributes:
        inputs: Tensors for the model; a batch takes them once for each of its images.
        share: (L, T) share of each text token in each label's score, or None where the model
            scores labels itself.
    """

    inputs: dict[str, torch.Tensor]
    share: torch.Tensor | None = None


class TransformersDetector(Detector):
    """Any `AutoModelForObjectDetection`, Grounding DINO, OWL-ViT or OWLv2.

    The features of an object are the decoder's last state of the query that found it; of OWL-ViT
    and OWLv2, which have no decoder, the class embedding of its image patch.

    In a batch, processors that keep an image's shape pad all images to the largest; models were
    trained with that, but scores then differ slightly from those of the images one by one.
    """

    def __init__(self, settings: DetectorSettings, compute: Compute) -> None:
        """Load the model and run it once.

        Raises:
            DetectorError: If the model is missing, of another kind or unreadable, or cannot look
                for the labels of `settings`.
        """
        if settings.model in CATALOG:
            raise DetectorError(
                f"detector.model: {settings.model} is embedded and not run by transformers; name "
                "a folder or a model of the Hugging Face hub, or set the parameter "
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
        """Take over thresholds and limits from `settings`."""
        self._settings = settings

    @torch.no_grad()
    def detect(self, images: Sequence[np.ndarray]) -> list[Perception]:
        """See `Detector.detect`."""
        if not images:
            return []
        # Replaced by another thread at any time, and these must be the same throughout.
        settings = self._settings
        outputs = self._model(**self._inputs(images))
        logits, boxes = self._logits(outputs).float(), outputs.pred_boxes.float()
        # No threshold lets NaN through, and where the best are chosen first NaN is the best.
        broken = logits.isnan().any(-1)  # (B, Q)
        logits = logits.masked_fill(broken[..., None], -torch.inf)
        found = self._post_process(
            logits, boxes, settings.minimum_score, [image.shape[:2] for image in images]
        )
        # The processors do not say which query gave a box, so the queries' numbers go the same
        # way as their boxes.
        number = torch.arange(boxes.shape[1], dtype=torch.float32, device=boxes.device)
        numbers = number[:, None] * torch.tensor([1.0, 0, 0, 0], device=boxes.device)
        queries = self._post_process(logits, numbers.expand_as(boxes), settings.minimum_score)
        states = _query_states(outputs, boxes.shape[1])
        return [
            self._perception(
                objects,
                image.shape[1::-1],
                None if states is None else states[i][query["boxes"][:, 0].long()],
                Counter({BAD_SCORE: int(broken[i].sum())}),
                settings,
            )
            for i, (image, objects, query) in enumerate(zip(images, found, queries, strict=True))
        ]

    def _load(self, source: str) -> None:
        # Pickled weights and code that comes with a model are never run.
        options: dict[str, Any] = {
            "local_files_only": Path(source).is_dir(),
            "trust_remote_code": False,
        }
        config = AutoConfig.from_pretrained(source, **options)
        led_by_texts = config.model_type in PHRASE_MODELS + QUERY_MODELS
        if not led_by_texts and type(config) not in MODEL_FOR_OBJECT_DETECTION_MAPPING:
            raise ValueError(f"a model of the type {config.model_type} is no detector known here")
        auto = AutoModelForZeroShotObjectDetection if led_by_texts else AutoModelForObjectDetection
        try:
            model = load_weights(auto, source, dtype=self._compute.dtype, **options)
        except ShapeMismatchError as error:
            raise _class_mismatch(error, config) from error
        self._model = model.to(self._compute.device).eval()
        self._processor = AutoImageProcessor.from_pretrained(source, **options)
        self._tokenizer = None
        if led_by_texts:
            self._tokenizer = AutoTokenizer.from_pretrained(source, **options)
        else:
            self._names = class_labels(config.id2label, config.num_labels)
            self.labels = tuple(dict.fromkeys(self._names.values()))
            if all(map(_PLACEHOLDER.fullmatch, self.labels)):
                logging.getLogger(__name__).warning(
                    "%s has no names for its %d classes, only %s and the like; add id2label to "
                    "its config.json",
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
        device = self._compute.device
        self._prompt = _Prompt(
            {name: value.to(device) for name, value in prompt.inputs.items()},
            None if prompt.share is None else prompt.share.to(device),
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
        """(B, Q, L) a score of each label, before the processor makes it a probability."""
        if self._tokenizer is None or self._prompt.share is None:
            return outputs.logits
        probabilities = outputs.logits.float().sigmoid() @ self._prompt.share.T
        # The shares add up to 1 only as far as floating point goes.
        return torch.logit(probabilities.clamp(max=1))

    def _post_process(
        self,
        logits: torch.Tensor,
        boxes: torch.Tensor,
        minimum_score: float,
        sizes: list[tuple[int, int]] | None = None,
    ) -> list[dict[str, torch.Tensor]]:
        """What the model's own processor makes of the scores: it knows their family."""
        return self._processor.post_process_object_detection(
            SimpleNamespace(logits=logits, pred_boxes=boxes),
            threshold=minimum_score,
            target_sizes=sizes,
        )

    def _perception(
        self,
        found: dict[str, torch.Tensor],
        resolution_wh: tuple[int, int],
        states: torch.Tensor | None,
        dropped: Counter[str],
        settings: DetectorSettings,
    ) -> Perception:
        found = {name: values.cpu() for name, values in found.items()}
        raw = RawObjects(*(found[name].numpy() for name in ("boxes", "scores", "labels")))
        checked = raw.check(self._names, resolution_wh)
        candidates = checked.detections
        kept = non_max_suppression(
            candidates.xyxy,
            candidates.scores,
            settings.iou_threshold,
            raw.class_ids[checked.indices],
        )[: settings.max_detections]
        features = None if states is None else states[checked.indices[kept]]
        return Perception.ranked(
            candidates.take(kept), settings.score_threshold, features, checked.dropped + dropped
        )


def _class_mismatch(error: ShapeMismatchError, config: PreTrainedConfig) -> ValueError:
    """The error that gives both counts where the number of classes is what does not fit."""
    names = config.num_labels
    for (stored, *_), (expected, *_) in error.shapes.values():
        # Some families have one more, for no object.
        if expected - names in (0, 1):
            return ValueError(
                f"it gives {stored - (expected - names)} classes and has names for {names} of "
                "them; correct id2label in its config.json"
            )
    return error


def _query_states(outputs: Any, queries: int) -> torch.Tensor | None:
    """(B, Q, d_p) what the model holds of each query, if it says so."""
    states = getattr(outputs, "class_embeds", None)
    if states is None:
        states = getattr(outputs, "last_hidden_state", None)
    # YOLOS has its queries behind the patches of the image.
    return None if states is None else states[:, -queries:]


def _phrases(
    labels: tuple[str, ...], tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig
) -> _Prompt:
    """All labels in one text, a full stop after each, as Grounding DINO was trained.

    A label's score is the mean over its tokens, as in the authors' own evaluation: the surest
    token alone would not tell a `traffic light` from a `traffic cone`.
    """
    if dotted := [label for label in labels if "." in label]:
        raise VocabularyError(f"{dotted[0]!r} holds a full stop, which ends a label; leave it out")
    phrases = [label.lower() for label in labels]
    inputs = tokenizer(". ".join(phrases) + ".", return_tensors="pt")
    width = config.max_text_len
    length = inputs["input_ids"].shape[1]
    if length > width:
        raise VocabularyError(f"the labels are {length} tokens, and the model takes {width}")
    share = torch.zeros(len(labels), width)
    start = 1
    for row, phrase in zip(share, phrases, strict=True):
        end = start + len(tokenizer(phrase, add_special_tokens=False)["input_ids"])
        if end == start:
            raise VocabularyError(f"the label {phrase!r} holds nothing that the model can read")
        row[start:end] = 1 / (end - start)
        start = end + 1
    return _Prompt(dict(inputs), share)


def _queries(
    labels: tuple[str, ...], tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig
) -> _Prompt:
    """A text for each label, worded as OWL-ViT's were in training."""
    inputs = tokenizer(
        [f"a photo of a {label}" for label in labels],
        padding="max_length",
        truncation=True,
        max_length=config.text_config.max_position_embeddings,
        return_tensors="pt",
    )
    return _Prompt(dict(inputs))
