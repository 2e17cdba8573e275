# SPDX-License-Identifier: Apache-2.0
"""Convert images, detections and questions to the input tensors of `MrMllm`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from mrmllm_ros.detection.detections import Attribute, Detections
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.perception_head import LabelSpace, PerceptionOutput
from mrmllm_ros.model.prompt import (
    ObjectList,
    PromptSettings,
    chat,
    describe_objects,
    question_with_context,
)

# Placeholders in a conversation that is rendered by the chat template. Private-use characters, so
# that no template trims or changes them.
_OBJECTS, _QUESTION = "\ue000objects\ue001", "\ue000question\ue001"
# An attribute is reported if its value is more likely than all others together.
_ATTRIBUTE_THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class ObjectBatch:
    """Candidates of B images, padded to the largest number K.

    Attributes:
        boxes: (B, K, 4) float32 center x, center y, width, height, normalized by the image size.
        scores: (B, K) float32 confidence of the detector.
        mask: (B, K) bool, false at padding.
        labels: Labels to choose from, and the detector's choice.
        numbers: (K, d_llm) mean token embedding of the number that cites each object.
        features: (B, K, d_p) `V_p`, or None if they are pooled from the image.
        region_names: (B, K, N) float32 probabilities of the visual encoder's class names, or None
            if the regions have no names.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    mask: torch.Tensor
    labels: LabelSpace
    numbers: torch.Tensor
    features: torch.Tensor | None
    region_names: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class PromptBatch:
    """Perception-embedded prompts of B frames.

    Attributes:
        ids: (B, L) int64 tokens, padded on the left.
        mask: (B, L) bool, false at padding.
        citable: Ids of the objects of each frame that an answer can cite.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    citable: tuple[frozenset[int], ...]


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """Inputs of the model for B frames.

    Attributes:
        objects: Candidates of the detector.
        pixel_values: (B, 3, H, W) input of the visual encoder, or None if it is not used.
        visual: (B, N_m, d_m) tokens `V_m`, or None until the images are encoded.
        has_image: (B,) bool, false for scenes without an image; None if every scene has one.
        prompts: Prompts, or None until the language model needs them.
    """

    objects: ObjectBatch
    pixel_values: torch.Tensor | None = None
    visual: torch.Tensor | None = None
    has_image: torch.Tensor | None = None
    prompts: PromptBatch | None = None


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Texts about B frames; the texts about one frame are packed into one row.

    Packed texts do not attend to each other and share the frame's tokens.

    Attributes:
        ids: (B, T) int64 tokens, padded on the right.
        segment_ids: (B, T) int64 index of the text that a token belongs to, -1 at padding.
    """

    ids: torch.Tensor
    segment_ids: torch.Tensor


class ChatFormat:
    """Chat format of a language model, split into system prompt, scene and question.

    The system prompt is the same for every frame, the scene for every question about a frame. Each
    part is tokenized separately, so that the caches of earlier parts can be reused.

    Attributes:
        with_objects: Whether the prompt lists the detections.
        system_prompt_ids: (P,) int64 tokens of the system prompt.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        with_objects: bool,
        with_examples: bool,
        context: str = "",
    ) -> None:
        """Split the chat template of a language model.

        Args:
            language_model: Model with template and tokenizer.
            with_objects: Whether the prompt lists the detections.
            with_examples: Whether the system prompt contains examples.
            context: Place where the robot is; empty if unknown.
        """
        self._language_model = language_model
        objects = _OBJECTS if with_objects else None
        messages = chat(objects, _QUESTION, with_examples, language_model.plain(context))
        text = language_model.render(messages)
        before, _, self._after_question = text.rpartition(_QUESTION)
        system_prompt, _, self._after_objects = before.partition(_OBJECTS)
        self.with_objects = with_objects
        self.system_prompt_ids = language_model.tokenize(system_prompt)

    def scene_ids(self, objects: str) -> torch.Tensor:
        """Tokenize the object list of a scene.

        Args:
            objects: Text of `describe_objects`.

        Returns:
            (L,) int64 tokens; empty if the prompt does not list the detections.
        """
        if not self.with_objects:
            return self.system_prompt_ids[:0]
        return self._tokens(self._language_model.plain(objects), self._after_objects)

    def question_ids(self, question: str, context: str = "") -> torch.Tensor:
        """Tokenize a question, up to the start of the answer.

        Args:
            question: The question; empty asks for a description.
            context: What the asker knows about the scene; may be empty.

        Returns:
            (Q,) int64 tokens.
        """
        plain = self._language_model.plain
        text = question_with_context(plain(question), plain(context))
        return self._tokens(text, self._after_question)

    def _tokens(self, text: str, after: str) -> torch.Tensor:
        return self._language_model.tokenize(text + after)


class MrMllmProcessor:
    """Creates the input batches of an `MrMllm`.

    Attributes:
        chat: Chat format of the language model; see `set_context`.
        prompt: Limits of the prompt; may be replaced at any time.
        vocabulary: Labels to choose from, in addition to the detector's labels; may be replaced at
            any time.
        perception_hidden_size: Size d_p of the features `V_p`.
        visual_shape: (N_m, d_m) of the tokens `V_m`.
    """

    def __init__(self, config: MrMllmConfig, backbones: Backbones, prompt: PromptSettings) -> None:
        """Create the processor of a model.

        Args:
            config: Configuration of the model.
            backbones: Backbones of the model.
            prompt: Limits of the prompt.
        """
        self._language_model = backbones.language_model
        self._config = config
        self.set_context("")
        self.prompt = prompt
        self.vocabulary = tuple(backbones.detector.labels)
        self._encoder = backbones.visual_encoder if config.needs_image else None
        self._max_objects = config.max_objects
        self._names_doubtful = config.doubtful_objects
        self._has_tokens = config.prefix_tokens
        self.perception_hidden_size = config.perception_hidden_size
        self.visual_shape = (0, 0)
        if backbones.visual_encoder is not None:
            rows, columns = backbones.visual_encoder.grid
            self.visual_shape = (rows * columns, backbones.visual_encoder.width)

    def set_context(self, context: str) -> None:
        """Set the place where the robot is, which the system prompt states.

        Args:
            context: The place, such as `a hospital corridor`; empty if unknown.
        """
        config = self._config
        self.chat = ChatFormat(
            self._language_model, config.perception_prompt, config.prompt_examples, context
        )

    def frames(
        self, images: Sequence[np.ndarray], perceptions: Sequence[Perception]
    ) -> FrameBatch:
        """Create a batch without prompts from images and detections.

        Args:
            images: B arrays (H, W, 3), uint8 in BGR order; at least one.
            perceptions: Detections in each image.
        """
        pixels = None if self._encoder is None else self._encoder.preprocess(images)
        return FrameBatch(self.objects(perceptions), pixel_values=pixels)

    def objects(
        self, perceptions: Sequence[Perception], labels: Sequence[str] = ()
    ) -> ObjectBatch:
        """Create the objects of a batch.

        Args:
            perceptions: Detections in each of B images.
            labels: Labels to choose from, in addition to the vocabulary.
        """
        limit = np.arange(self._max_objects)
        return batch_objects(
            [p.take(limit[: len(p.candidates)]) for p in perceptions],
            (*self.vocabulary, *labels),
            self._language_model,
        )

    def add_prompts(
        self,
        frames: FrameBatch,
        perceptions: Sequence[Perception],
        attributes: Sequence[Sequence[Mapping[str, str]]],
    ) -> FrameBatch:
        """Write the prompts of a batch.

        Args:
            frames: B frames.
            perceptions: Their detections.
            attributes: Attributes of each reported object for the prompt, by name.
        """
        lists = [self._describe(*frame) for frame in zip(perceptions, attributes, strict=True)]
        ids, mask = pad_left([self.chat.scene_ids(objects.text) for objects in lists])
        citable = tuple(map(self._citable, perceptions, lists))
        return replace(frames, prompts=PromptBatch(ids, mask, citable))

    def _citable(self, perception: Perception, objects: ObjectList) -> frozenset[int]:
        """Ids of the objects in the prompt.

        If the prompt has no objects, ids of the reported objects with a query token.
        """
        if self.chat.with_objects:
            return objects.citable
        count = min(perception.reported, self._max_objects) if self._has_tokens else 0
        return frozenset(range(1, count + 1))

    def _describe(
        self, perception: Perception, attributes: Sequence[Mapping[str, str]]
    ) -> ObjectList:
        if not self.chat.with_objects:
            return ObjectList("", 0)
        return describe_objects(
            perception.detections,
            self.prompt,
            self._language_model.count_tokens,
            attributes,
            perception.doubtful(self.prompt.perhaps_threshold) if self._names_doubtful else None,
        )


def pad_left(rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack token sequences of different lengths, padded on the left.

    Args:
        rows: B tensors of shape (L_i,).

    Returns:
        (B, L) int64 tokens with zeros as padding, and (B, L) bool mask, false at padding.
    """
    ids = pad_sequence(list(rows), batch_first=True, padding_side="left")
    lengths = torch.tensor([len(row) for row in rows], device=ids.device)
    positions = torch.arange(ids.shape[1], device=ids.device)
    return ids, positions >= ids.shape[1] - lengths[:, None]


def batch_objects(
    perceptions: Sequence[Perception], vocabulary: Sequence[str], language_model: LanguageModel
) -> ObjectBatch:
    """Stack the candidates of several images.

    Args:
        perceptions: K_i candidates of each image. Features, label scores and names of regions are
            used if every image has them.
        vocabulary: Labels to choose from; the labels of the candidates are added.
        language_model: Model that embeds the labels.

    Returns:
        The batch on the language model's device, in its precision.
    """
    model = language_model.model
    candidates = [perception.candidates for perception in perceptions]
    texts = list(dict.fromkeys([*vocabulary, *(x for c in candidates for x in c.labels)]))
    index = {text: i for i, text in enumerate(texts)}

    def stack(rows: list[torch.Tensor]) -> torch.Tensor:
        return pad_sequence(rows, batch_first=True).to(model.device)

    choices = [[index[label] for label in c.labels] for c in candidates]
    detector = stack([torch.tensor(choice, dtype=torch.int64) for choice in choices])
    embeddings = language_model.embed_texts(texts)  # (V, d_llm)
    most = max(map(len, candidates))

    def stack_all(rows: Iterable[torch.Tensor | None]) -> torch.Tensor | None:
        known = [row for row in rows if row is not None]
        return stack(known) if len(known) == len(perceptions) else None

    features = stack_all(perception.features for perception in perceptions)
    scores = stack_all(_label_scores(perception, index) for perception in perceptions)
    names = stack_all(
        None if p.region_names is None else torch.from_numpy(p.region_names) for p in perceptions
    )
    return ObjectBatch(
        boxes=stack([torch.from_numpy(_shares(c)) for c in candidates]),
        scores=stack([torch.from_numpy(c.scores.astype(np.float32)) for c in candidates]),
        mask=stack([torch.ones(len(c), dtype=torch.bool) for c in candidates]),
        labels=LabelSpace(tuple(texts), embeddings, len(set(vocabulary)), detector, scores),
        numbers=language_model.embed_texts([str(i) for i in range(1, most + 1)]),
        features=None if features is None else features.to(model.dtype),
        region_names=names,
    )


def _label_scores(perception: Perception, index: Mapping[str, int]) -> torch.Tensor | None:
    """(K, V) float32 scores of labels, at least the candidate's score for its own label.

    None before the fusion of labels: a detector's scores may be those of other candidates of the
    same object.
    """
    of_labels, candidates = perception.label_scores, perception.candidates
    if of_labels is None or perception.detected is None:
        return None
    scores = np.zeros((len(candidates), len(index)), np.float32)
    known = [column for column, label in enumerate(of_labels.labels) if label in index]
    scores[:, [index[of_labels.labels[column]] for column in known]] = of_labels.scores[:, known]
    own = (np.arange(len(candidates)), [index[label] for label in candidates.labels])
    scores[own] = np.maximum(scores[own], candidates.scores)
    return torch.from_numpy(scores)


def _shares(detections: Detections) -> np.ndarray:
    """(K, 4) float32 center and size, normalized by the image size."""
    return (detections.xywh / np.tile(detections.resolution_wh, 2)).astype(np.float32)


def enriched_detections(
    perception: Perception,
    output: PerceptionOutput,
    labels: Sequence[str],
    attributes: Mapping[str, Sequence[str]],
) -> EnrichedDetections:
    """Convert predictions of the perception head to detections in pixels.

    Args:
        perception: Detections of the image. Candidates beyond the first K are not changed.
        output: Predictions for the first K candidates, without the dimension B.
        labels: V labels of `label_logits`.
        attributes: Values of each attribute of `attribute_logits`.
    """
    candidates = perception.candidates
    count = min(len(candidates), len(output.scores))
    if count == 0:
        return EnrichedDetections.unchanged(perception)
    scores, xyxy = candidates.scores.copy(), candidates.xyxy.copy()
    scores[:count] = output.scores[:count].cpu().numpy()
    sides = np.tile(candidates.xywh[:count, 2:], 2)
    xyxy[:count] += output.edge_shifts[:count].cpu().numpy() * sides
    # Clip to the image, or to the detector's box if that extends further.
    edges = np.tile(np.float32(candidates.resolution_wh), 2)
    xyxy = xyxy.clip(np.minimum(candidates.xyxy, 0), np.maximum(candidates.xyxy, edges))
    choice = output.label_logits[:count].argmax(-1).tolist()
    novelty = np.zeros(len(candidates), np.float32)
    novelty[:count] = output.novelty[:count].cpu().numpy()
    fused_labels = (*(labels[i] for i in choice), *candidates.labels[count:])
    # The reasons of a label do not explain another one.
    reasons = [
        own if label == before else ()
        for own, label, before in zip(
            perception.attributes, fused_labels, candidates.labels, strict=True
        )
    ]
    return EnrichedDetections(
        fused=replace(candidates, xyxy=xyxy, scores=scores, labels=fused_labels),
        detector=perception.before_label_fusion,
        reported=np.flatnonzero(scores >= np.float32(perception.score_threshold)),
        novelty=novelty,
        attributes=(
            *_attributes(output.attribute_logits, attributes, count),
            *((),) * (len(candidates) - count),
        ),
    ).with_attributes(reasons)


def _attributes(
    logits: Mapping[str, torch.Tensor], values: Mapping[str, Sequence[str]], count: int
) -> list[tuple[Attribute, ...]]:
    """Attributes of each object with a probability above `_ATTRIBUTE_THRESHOLD`."""
    found: list[list[Attribute]] = [[] for _ in range(count)]
    for name, of_objects in logits.items():
        scores, choice = of_objects[:count].softmax(-1).max(-1)
        for i, (score, index) in enumerate(zip(scores.tolist(), choice.tolist(), strict=True)):
            if score > _ATTRIBUTE_THRESHOLD:
                found[i].append(Attribute(name, values[name][index], score))
    return [tuple(attributes) for attributes in found]
