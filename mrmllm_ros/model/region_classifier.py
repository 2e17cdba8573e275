# SPDX-License-Identifier: Apache-2.0
"""Name image regions with the frozen visual encoder: "Granny Smith" for the box of an apple.

Ours, not from the paper. Each region is classified in a crop of its own: the encoder's map of the
whole image, averaged over a box, depends too much on what surrounds the box.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from timm.data import ImageNetInfo
from torch.nn.functional import normalize
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from mrmllm_ros.compute import Step, at_once
from mrmllm_ros.detection.boxes import clip_boxes
from mrmllm_ros.model.visual_encoder import VisualEncoder, VisualEncoderError
from mrmllm_ros.weights.pretrained import load_weights, loading, safe_options

BATCH_SIZE = 32  # crops, or texts, that the encoder processes at once
# Crops at once on a CPU, where larger batches take longer for each crop.
CPU_BATCH_SIZE = 2
CONTEXT = 0.05  # share of the longer side of a box, added on each side of its crop
IMAGENET_CLASSES = 1000
IMAGENET_CROP = (160, 160)  # height and width

# Options of the tokenizer as in the training of each family with a text encoder. SigLIP attends to
# the padding, so its texts have the full length and no attention mask.
_TOKENIZATION: dict[str, dict[str, Any]] = {
    "clip": {"padding": "longest"},
    "siglip": {"padding": "max_length", "return_attention_mask": False},
}


class RegionClassifier(ABC):
    """Names the regions of an image with the visual encoder.

    Attributes:
        names: Names of the C classes; synonyms are separated by ", ". Two classes may have one
            name: ImageNet has two of `crane`.
    """

    names: tuple[str, ...]

    @abstractmethod
    def classify(
        self,
        images: Sequence[np.ndarray],
        regions: Sequence[np.ndarray],
        step: Step = at_once,
    ) -> list[np.ndarray]:
        """Compute the probabilities of the classes for each region.

        Args:
            images: B arrays (H, W, 3), uint8 in BGR order; sizes may differ.
            regions: (N_i, 4) boxes in pixels of each image; parts outside the image are ignored.
            step: Context of each step.

        Returns:
            (N_i, C) float32 for each image; the rows sum to 1.

        Raises:
            ValueError: If the numbers of images and of arrays of regions differ, or there are no
                names to choose from.
        """


class _CropClassifier(RegionClassifier):
    """Classifies a square crop of each region."""

    def __init__(self, encoder: VisualEncoder, crop_size: tuple[int, int] | None = None) -> None:
        """Create the classifier.

        Args:
            encoder: The visual encoder.
            crop_size: Height and width of its input; by default those of images.
        """
        self._encoder = encoder
        self._crop_size = crop_size

    @torch.no_grad()
    def classify(
        self,
        images: Sequence[np.ndarray],
        regions: Sequence[np.ndarray],
        step: Step = at_once,
    ) -> list[np.ndarray]:
        """See `RegionClassifier.classify`."""
        crops = [
            image[top:bottom, left:right]
            for image, boxes in zip(images, regions, strict=True)
            for left, top, right, bottom in square_crops(boxes, image.shape[1::-1])
        ]
        probabilities = np.empty((len(crops), len(self.names)), np.float32)
        size = CPU_BATCH_SIZE if self._encoder.device.type == "cpu" else BATCH_SIZE
        for start in range(0, len(crops), size):
            batch = slice(start, start + size)
            with step("crops"):
                pixel_values = self._encoder.preprocess(crops[batch], self._crop_size)
                probabilities[batch] = self._logits(pixel_values).float().softmax(dim=1).cpu()
        ends = np.cumsum([len(boxes) for boxes in regions], dtype=int)
        return np.split(probabilities, ends)[:-1]

    @abstractmethod
    def _logits(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(N, C) logits of N crops (N, 3, height, width)."""


class ImageNetClassifier(_CropClassifier):
    """The network's own classifier of the 1000 ImageNet classes.

    Attributes:
        names: Names of the classes with their synonyms in WordNet.
    """

    def __init__(self, encoder: VisualEncoder) -> None:
        """Create the classifier.

        Args:
            encoder: Visual encoder with a network of timm that has such a classifier.
        """
        super().__init__(encoder, IMAGENET_CROP)
        self.names = tuple(ImageNetInfo().label_descriptions())

    def _logits(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self._encoder.network(pixel_values)


class ZeroShotClassifier(_CropClassifier):
    """Similarity of crops and names in the space that CLIP or SigLIP has for images and texts.

    The logit bias of SigLIP is the same for all names and has no effect on their probabilities.

    Attributes:
        names: Names to choose from; none until `set_names`.
    """

    def __init__(
        self, encoder: VisualEncoder, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        """Create the classifier.

        Args:
            encoder: Visual encoder with the vision part of the model.
            model: The whole model; its vision part is replaced by that of the encoder.
            tokenizer: Its tokenizer.
        """
        super().__init__(encoder)
        self.names = ()
        # In float32: the scale is about 100, and rounded in half precision it is off by 1 %.
        self._scale = model.logit_scale.detach().float().exp().to(encoder.network.device)
        model.vision_model = encoder.network
        self._model = model.to(encoder.network.device, encoder.network.dtype).eval()
        self._model.requires_grad_(False)
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, encoder: VisualEncoder) -> ZeroShotClassifier | None:
        """Load the text encoder that belongs to a visual encoder.

        Returns:
            The classifier, or None if the visual encoder has no text encoder.

        Raises:
            VisualEncoderError: If the text encoder or its tokenizer cannot be loaded.
        """
        source = encoder.network.name_or_path
        options = safe_options(source)
        with loading("text encoder", source, "visual_encoder.model", VisualEncoderError):
            config = AutoConfig.from_pretrained(source, **options)
            if config.model_type not in _TOKENIZATION:
                return None
            model = load_weights(AutoModel, source, dtype=torch.float32, **options)
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            # Where files are missing, CLIP's tokenizer has special tokens only.
            if len(tokenizer) <= len(tokenizer.all_special_tokens):
                raise ValueError("its tokenizer is missing or empty")
        return cls(encoder, model, tokenizer)

    @torch.no_grad()
    def set_names(self, names: Sequence[str]) -> None:
        """Set the names to choose from.

        Args:
            names: Names of things, such as the labels of a vocabulary.

        Raises:
            ValueError: If there are no names.
        """
        if not names:
            raise ValueError("no names to choose from")
        batches = [names[i : i + BATCH_SIZE] for i in range(0, len(names), BATCH_SIZE)]
        self._texts = torch.cat([self._text_features(batch) for batch in batches])
        self.names = tuple(names)

    def _text_features(self, names: Sequence[str]) -> torch.Tensor:
        """(C, d) unit vectors of names, float32."""
        config = self._model.config
        tokens = self._tokenizer(
            # Both families are trained on lower case; some tokenizers keep capitals.
            [f"a photo of a {name}".lower() for name in names],
            truncation=True,
            max_length=config.text_config.max_position_embeddings,
            return_tensors="pt",
            **_TOKENIZATION[config.model_type],
        ).to(self._model.device)
        return normalize(self._model.get_text_features(**tokens).pooler_output.float(), dim=1)

    def _logits(self, pixel_values: torch.Tensor) -> torch.Tensor:
        if not self.names:
            raise ValueError("no names to choose from; call set_names first")
        features = self._model.get_image_features(pixel_values=pixel_values).pooler_output
        return self._scale * normalize(features.float(), dim=1) @ self._texts.T


def region_classifier(encoder: VisualEncoder) -> RegionClassifier | None:
    """Create the classifier that fits a visual encoder.

    Returns:
        The classifier, or None if the encoder has neither a classifier of ImageNet nor a text
        encoder, as DINOv2 and ViT.

    Raises:
        VisualEncoderError: If the text encoder of the visual encoder cannot be loaded.
    """
    if isinstance(encoder.network, PreTrainedModel):
        return ZeroShotClassifier.load(encoder)
    if encoder.network.num_classes == IMAGENET_CLASSES:
        return ImageNetClassifier(encoder)
    return None


def square_crops(xyxy: np.ndarray, resolution_wh: tuple[int, int]) -> np.ndarray:
    """Compute squares around boxes, with context, in whole pixels and clipped to the image.

    Args:
        xyxy: (N, 4) boxes in pixels.
        resolution_wh: Width and height of the image in pixels.

    Returns:
        (N, 4) int64 left, top, right, bottom of at least one pixel.
    """
    inside = clip_boxes(xyxy, resolution_wh)
    starts, ends = inside[:, :2], inside[:, 2:]
    sides = np.rint((ends - starts).max(axis=1, keepdims=True) * (1 + 2 * CONTEXT))
    # Of two pixels around the edge of the image, one lies within.
    sides = sides.clip(min=2)
    corners = np.rint((starts + ends) / 2 - sides / 2)
    return clip_boxes(np.hstack([corners, corners + sides]), resolution_wh).astype(np.int64)
