# SPDX-License-Identifier: Apache-2.0
"""Labeled regions of images, and the inputs of a classifier whose names for them are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mrmllm_ros.compute import Step, at_once
from mrmllm_ros.detection.images import read_image
from mrmllm_ros.detection.roi_features import pool_tokens
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.labeled_images import Annotations, load_images
from mrmllm_ros.evaluation.rendered_scenes import RenderedScenes
from mrmllm_ros.model.region_classifier import RegionClassifier
from mrmllm_ros.model.visual_encoder import VisualEncoder

# Inputs of the classifier for a region.
MAP = "pooled map of the box"
RANDOM_MAP = "pooled map of a random box"
WHOLE_IMAGE = "whole image"
RANDOM_CROP = "crop of a random box"
CROP = "crop of the box"
SOURCES = (MAP, RANDOM_MAP, WHOLE_IMAGE, RANDOM_CROP, CROP)


@dataclass(frozen=True, eq=False)
class RegionImages:
    """Images with labeled boxes.

    Attributes:
        read: Gives the images, (H, W, 3) uint8 arrays in BGR order.
        truth: Objects of each image.
        labels: All labels.
    """

    read: Callable[[], Iterable[np.ndarray]]
    truth: Sequence[TrueObjects]
    labels: Sequence[str]

    @classmethod
    def of_annotations(cls, annotations: Annotations) -> RegionImages:
        """Regions of labeled images."""
        return cls(lambda: load_images(annotations.images), annotations.truth, annotations.labels)

    @classmethod
    def of_rendered(cls, scenes: RenderedScenes) -> RegionImages:
        """Regions of rendered scenes."""
        return cls(
            lambda: (read_image(image.path) for image in scenes.images),
            [image.truth for image in scenes.images],
            scenes.labels,
        )


class MapClassifier(RegionClassifier):
    """Classifies the encoder's map of the whole image, averaged over each region.

    Attributes:
        names: Names of the classes.
    """

    def __init__(self, encoder: VisualEncoder, names: Sequence[str]) -> None:
        """Create the classifier.

        Args:
            encoder: Visual encoder with a network of timm that has a classifier.
            names: Names of its classes.
        """
        self._encoder = encoder
        self.names = tuple(names)

    @torch.no_grad()
    def classify(
        self,
        images: Sequence[np.ndarray],
        regions: Sequence[np.ndarray],
        step: Step = at_once,
    ) -> list[np.ndarray]:
        """See `RegionClassifier.classify`."""
        with step("maps"):
            return [self._classify(*each) for each in zip(images, regions, strict=True)]

    def _classify(self, image: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
        """(N, C) probabilities of the regions of an image."""
        encoder = self._encoder
        tokens = encoder(encoder.preprocess([image]))
        starts, ends = np.split(xyxy / np.tile(image.shape[1::-1], 2), 2, axis=1)
        boxes = torch.from_numpy(np.hstack([(starts + ends) / 2, ends - starts])).float()
        pooled = pool_tokens(tokens, encoder.grid, boxes.to(tokens.device)[None])[0]
        logits = encoder.network.get_classifier()(pooled)
        return logits.float().softmax(1).cpu().numpy()


@dataclass(frozen=True, eq=False)
class RegionNamer:
    """Names regions from all sources.

    Attributes:
        crops: Classifies crops.
        maps: Classifies the map of the whole image.
    """

    crops: RegionClassifier
    maps: RegionClassifier

    def classify(
        self, image: np.ndarray, xyxy: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Compute the probabilities of the class names for each region.

        Args:
            image: (H, W, 3) uint8 in BGR order.
            xyxy: (N, 4) boxes in pixels.
            rng: Places the random boxes.

        Returns:
            (N, C) for each of `SOURCES`.
        """
        resolution_wh = image.shape[1::-1]
        elsewhere = random_boxes(xyxy, resolution_wh, rng)
        whole = np.array([[0, 0, *resolution_wh]], float)
        count = len(xyxy)
        boxes = np.concatenate([xyxy, elsewhere])
        [crops] = self.crops.classify([image], [np.concatenate([boxes, whole])])
        [maps] = self.maps.classify([image], [boxes])
        return {
            MAP: maps[:count],
            RANDOM_MAP: maps[count:],
            WHOLE_IMAGE: np.repeat(crops[-1:], count, axis=0),
            RANDOM_CROP: crops[count:-1],
            CROP: crops[:count],
        }


def random_boxes(
    xyxy: np.ndarray, resolution_wh: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Move boxes to random places in the image.

    Args:
        xyxy: (N, 4) boxes within the image, in pixels.
        resolution_wh: Width and height of the image in pixels.
        rng: Random numbers.

    Returns:
        (N, 4) boxes of the same sizes within the image.
    """
    sides = xyxy[:, 2:] - xyxy[:, :2]
    corners = rng.uniform(0, 1, sides.shape) * (np.array(resolution_wh) - sides)
    return np.hstack([corners, corners + sides])
