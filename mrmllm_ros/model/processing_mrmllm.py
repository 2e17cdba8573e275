# SPDX-License-Identifier: Apache-2.0
"""Images, detections and questions as the tensors that `MrMllm` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from mrmllm_ros.detection.colors import measure_colors
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.enriched_detections import Attribute, EnrichedDetections
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.perception_head import LabelSpace, PerceptionOutput
from mrmllm_ros.model.prompt import (
    DESCRIBE,
    PromptSettings,
    chat,
    describe_objects,
    listed,
    stated_distances,
)

# Stand for what comes later while a conversation is written in the chat format. Private-use
# characters, so that no template trims or changes them.
_OBJECTS, _QUESTION = "\ue000objects\ue001", "\ue000question\ue001"
# An attribute is named where its value is likelier than all others together.
_ATTRIBUTE_THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class ObjectBatch:
    """Candidates of B images, padded to the largest number K.

    Attributes:
        boxes: (B, K, 4) float32 center x, center y, width, height as shares of the image.
        scores: (B, K) float32, the detector's confidence.
        mask: (B, K) bool, true where there is an object.
        labels: The labels to choose from, and the detector's choice.
        numbers: (K, d_llm) mean token embedding of the number that cites each object.
        features: (B, K, d_p) `V_p`, or None where they are pooled from the image.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    mask: torch.Tensor
    labels: LabelSpace
    numbers: torch.Tensor
    features: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """B frames.

    Attributes:
        text_ids: (B, L) int64, tokens of the scene's text, padded on the left.
        text_mask: (B, L) bool, true where there is a token.
        objects: The candidates.
        pixel_values: (B, 3, H, W) as the visual encoder takes them, or None where it is not used.
        listed: Number of objects of each frame that can be cited: those in the text, or where
            there is no text those that are reported.
        visual: (B, N_m, d_m) tokens `V_m`, where they have been computed already.
        seen: (B,) bool, true where there is an image; None where all have one. In training, some
            scenes have none.
    """

    text_ids: torch.Tensor
    text_mask: torch.Tensor
    objects: ObjectBatch
    pixel_values: torch.Tensor | None
    listed: tuple[int, ...]
    visual: torch.Tensor | None = None
    seen: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Texts about B frames, those about one frame side by side.

    Texts about a frame do not see each other, so that they share the reading of the frame.

    Attributes:
        ids: (B, T) int64, tokens, padded on the right.
        owner: (B, T) int64, index of the text that a token belongs to, -1 where there is none.
    """

    ids: torch.Tensor
    owner: torch.Tensor


class ChatFormat:
    """A language model's chat format, cut at what changes: preamble, scene, question.

    The preamble is the same for every frame, the scene for every question about a frame. Each
    part is tokenized by itself, so that what has been read need not be read again.

    Attributes:
        with_objects: Whether detections are written into the prompt.
        preamble_ids: (P,) int64, tokens of the preamble.
    """

    def __init__(
        self, language_model: LanguageModel, with_objects: bool, with_examples: bool
    ) -> None:
        """Cut the format.

        Args:
            language_model: Its template and tokenizer are used.
            with_objects: Whether detections are written into the prompt.
            with_examples: Whether the preamble holds examples.
        """
        self._language_model = language_model
        messages = chat(_OBJECTS if with_objects else None, _QUESTION, with_examples)
        text = language_model.render(messages)
        before, _, self._after_question = text.rpartition(_QUESTION)
        preamble, _, self._after_objects = before.partition(_OBJECTS)
        self.with_objects = with_objects
        self.preamble_ids = language_model.tokenize(preamble)

    def scene_ids(self, objects: str) -> torch.Tensor:
        """Tokens of the scene's text.

        Args:
            objects: What `describe_objects` wrote.

        Returns:
            (L,) int64; empty where detections are not written into the prompt.
        """
        if not self.with_objects:
            return self.preamble_ids[:0]
        return self._tokens(self._language_model.plain(objects), self._after_objects)

    def question_ids(self, question: str) -> torch.Tensor:
        """Tokens of a question, up to where the answer begins.

        Args:
            question: The question; empty asks for a description.

        Returns:
            (Q,) int64.
        """
        text = self._language_model.plain(question).strip()
        return self._tokens(text or DESCRIBE, self._after_question)

    def _tokens(self, text: str, after: str) -> torch.Tensor:
        return self._language_model.tokenize(text + after)


class MrMllmProcessor:
    """Makes batches of frames.

    Attributes:
        chat: The language model's chat format.
        prompt: Limits of the perception-embedded prompt; may be replaced at any time.
        vocabulary: Labels to choose from, beside the detector's own; may be replaced likewise.
        perception_width: Width d_p of the features `V_p`.
        visual_shape: (N_m, d_m) of the tokens `V_m`.
    """

    def __init__(self, config: MrMllmConfig, backbones: Backbones, prompt: PromptSettings) -> None:
        """Prepare for a model.

        Args:
            config: The model's.
            backbones: The model's.
            prompt: Limits of the perception-embedded prompt.
        """
        self.chat = ChatFormat(
            backbones.language_model, config.perception_prompt, config.prompt_examples
        )
        self.prompt = prompt
        self.vocabulary = tuple(backbones.detector.labels)
        self._language_model = backbones.language_model
        self._encoder = backbones.visual_encoder if config.needs_image else None
        self._max_objects = config.max_objects
        self._has_tokens = config.prefix_tokens
        self.perception_width = config.perception_width
        self.visual_shape = (0, 0)
        if backbones.visual_encoder is not None:
            rows, columns = backbones.visual_encoder.grid
            self.visual_shape = (rows * columns, backbones.visual_encoder.width)

    def __call__(
        self, images: Sequence[np.ndarray], perceptions: Sequence[Perception]
    ) -> FrameBatch:
        """Make a batch.

        Args:
            images: (H, W, 3) uint8 arrays in BGR order, at least one.
            perceptions: What the detector found in each.
        """
        pixels = None if self._encoder is None else self._encoder.preprocess(images)
        stated = [
            stated_attributes(image, perception.detections)
            for image, perception in zip(images, perceptions, strict=True)
        ]
        return self.batch(perceptions, stated, pixel_values=pixels)

    def batch(
        self,
        perceptions: Sequence[Perception],
        attributes: Sequence[Sequence[Mapping[str, str]]],
        labels: Sequence[str] = (),
        **image: torch.Tensor | None,
    ) -> FrameBatch:
        """Make a batch of what is known already.

        Args:
            perceptions: What the detector found in each of B images.
            attributes: What the prompt states of each reported object beside its label.
            labels: More labels to choose from, beside the vocabulary.
            image: `pixel_values`, `visual` and `seen` as in `FrameBatch`.
        """
        texts = [self._describe(*frame) for frame in zip(perceptions, attributes, strict=True)]
        text_ids, text_mask = pad_left([self.chat.scene_ids(text) for text in texts])
        limit = self._max_objects
        return FrameBatch(
            text_ids=text_ids,
            text_mask=text_mask,
            objects=batch_objects(
                [p.candidates.take(np.arange(len(p.candidates))[:limit]) for p in perceptions],
                [None if p.features is None else p.features[:limit] for p in perceptions],
                (*self.vocabulary, *labels),
                self._language_model,
            ),
            listed=tuple(map(self._citable, perceptions, texts)),
            **{"pixel_values": None, **image},
        )

    def _citable(self, perception: Perception, text: str) -> int:
        """Number of objects that can be cited: those in the text, else those with a token."""
        if self.chat.with_objects:
            return listed(text)
        return min(perception.reported, self._max_objects) if self._has_tokens else 0

    def _describe(self, perception: Perception, attributes: Sequence[Mapping[str, str]]) -> str:
        if not self.chat.with_objects:
            return ""
        count_tokens = self._language_model.count_tokens
        return describe_objects(perception.detections, self.prompt, count_tokens, attributes)


def stated_attributes(image: np.ndarray, detections: Detections) -> tuple[dict[str, str], ...]:
    """What is stated of each object beside its label.

    That is its color, where it has a clear one, and its distance, where that is known.

    Args:
        image: (H, W, 3) uint8 in BGR order.
        detections: N objects in it.
    """
    colors, distances = measure_colors(image, detections), stated_distances(detections)
    return tuple(
        ({"color": color} if color else {}) | distance
        for color, distance in zip(colors, distances, strict=True)
    )


def pad_left(rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack token sequences of different lengths.

    Args:
        rows: B tensors of shape (L_i,).

    Returns:
        (B, L) int64 tokens with zeros on the left, and (B, L) bool, true where there is a token.
    """
    ids = pad_sequence(list(rows), batch_first=True, padding_side="left")
    lengths = torch.tensor([len(row) for row in rows], device=ids.device)
    positions = torch.arange(ids.shape[1], device=ids.device)
    return ids, positions >= ids.shape[1] - lengths[:, None]


def batch_objects(
    candidates: Sequence[Detections],
    features: Sequence[torch.Tensor | None],
    vocabulary: Sequence[str],
    language_model: LanguageModel,
) -> ObjectBatch:
    """Stack the candidates of several images.

    Args:
        candidates: K_i objects of each image.
        features: (K_i, d_p) `V_p` of each image, or None for all of them.
        vocabulary: Labels to choose from; the detector's own are added.
        language_model: Embeds the labels, and gives device and precision.

    Returns:
        The batch, on the language model's device.
    """
    model = language_model.model
    texts = list(dict.fromkeys([*vocabulary, *(x for c in candidates for x in c.labels)]))
    index = {text: i for i, text in enumerate(texts)}

    def stack(rows: list[torch.Tensor]) -> torch.Tensor:
        return pad_sequence(rows, batch_first=True).to(model.device)

    choices = [[index[label] for label in c.labels] for c in candidates]
    detector = stack([torch.tensor(choice, dtype=torch.int64) for choice in choices])
    embeddings = language_model.embed_texts(texts)  # (V, d_llm)
    most = max(map(len, candidates))
    return ObjectBatch(
        boxes=stack([torch.from_numpy(_shares(c)) for c in candidates]),
        scores=stack([torch.from_numpy(c.scores.astype(np.float32)) for c in candidates]),
        mask=stack([torch.ones(len(c), dtype=torch.bool) for c in candidates]),
        labels=LabelSpace(tuple(texts), embeddings, len(set(vocabulary)), detector),
        numbers=language_model.embed_texts([str(i) for i in range(1, most + 1)]),
        features=None if features[0] is None else stack(list(features)).to(model.dtype),
    )


def _shares(detections: Detections) -> np.ndarray:
    """(K, 4) float32 center and size as shares of the image."""
    return (detections.xywh / np.tile(detections.resolution_wh, 2)).astype(np.float32)


def enriched_detections(
    perception: Perception,
    output: PerceptionOutput,
    labels: Sequence[str],
    attributes: Mapping[str, Sequence[str]],
) -> EnrichedDetections:
    """What the perception head said of one image, in the units of the image.

    Args:
        perception: What the detector said. Candidates beyond those that the head saw stay as
            they are.
        output: What the head said of the first K candidates, without the dimension B.
        labels: The V labels that it chose from.
        attributes: The values of each attribute that it chose from.
    """
    candidates = perception.candidates
    count = min(len(candidates), len(output.scores))
    if count == 0:
        return EnrichedDetections.unchanged(perception)
    scores, xyxy = candidates.scores.copy(), candidates.xyxy.copy()
    scores[:count] = output.scores[:count].cpu().numpy()
    sides = np.tile(candidates.xywh[:count, 2:], 2)
    xyxy[:count] += output.edge_shifts[:count].cpu().numpy() * sides
    # No further out of the image than the detector went.
    edges = np.tile(np.float32(candidates.resolution_wh), 2)
    xyxy = xyxy.clip(np.minimum(candidates.xyxy, 0), np.maximum(candidates.xyxy, edges))
    choice = output.label_logits[:count].argmax(-1).tolist()
    novelty = np.zeros(len(candidates), np.float32)
    novelty[:count] = output.novelty[:count].cpu().numpy()
    return EnrichedDetections(
        fused=replace(
            candidates,
            xyxy=xyxy,
            scores=scores,
            labels=(*(labels[i] for i in choice), *candidates.labels[count:]),
        ),
        detector=candidates,
        reported=np.flatnonzero(scores >= np.float32(perception.score_threshold)),
        novelty=novelty,
        attributes=(
            *_attributes(output.attribute_logits, attributes, count),
            *((),) * (len(candidates) - count),
        ),
    )


def _attributes(
    logits: Mapping[str, torch.Tensor], values: Mapping[str, Sequence[str]], count: int
) -> list[tuple[Attribute, ...]]:
    """Attributes of each object that are more likely than not."""
    found: list[list[Attribute]] = [[] for _ in range(count)]
    for name, of_objects in logits.items():
        scores, choice = of_objects[:count].softmax(-1).max(-1)
        for i, (score, index) in enumerate(zip(scores.tolist(), choice.tolist(), strict=True)):
            if score > _ATTRIBUTE_THRESHOLD:
                found[i].append(Attribute(name, values[name][index], score))
    return [tuple(attributes) for attributes in found]
