# SPDX-License-Identifier: Apache-2.0
"""Labels of an image classifier, to put right what the detector is unsure of.

The embedded visual encoder was trained to tell the 1000 classes of ImageNet apart and still holds
its classifier. Its classes are finer than a detector's labels and were learnt from other images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import timm
import torch
from timm.data import ImageNetInfo

from mrmllm_ros import weights
from mrmllm_ros.compute import Compute
from mrmllm_ros.perception.detections import Detections

_MODEL = "efficientnet-lite0"
_BATCH = 16
_LEAST_SIDE = 12  # pixels; smaller crops show nothing that could be classified
_MARGIN = 0.1  # of the box on each side: classifiers learn from objects in their surroundings
_SURE_OPINION = 0.6
_SURE_DETECTOR = 0.5

# ImageNet keeps kinds of an animal together: first and last class.
_RANGES = {
    "bird": ((7, 24), (80, 100), (127, 146)),
    "dog": ((151, 268),),
    "cat": ((281, 285),),
    "bear": ((294, 297),),
    "elephant": ((385, 386),),
}

# The first name of each class that is a kind of a detector's label.
_NAMES = {
    "airplane": "airliner, warplane",
    "apple": "Granny Smith",
    "backpack": "backpack",
    "banana": "banana",
    "bench": "park bench",
    "bicycle": "mountain bike, bicycle-built-for-two",
    "boat": "canoe, catamaran, fireboat, gondola, lifeboat, schooner, speedboat, trimaran, yawl",
    "book": "book jacket, comic book",
    "bottle": "beer bottle, pill bottle, pop bottle, water bottle, wine bottle",
    "bowl": "mixing bowl, soup bowl",
    "broccoli": "broccoli",
    "bus": "minibus, school bus, trolleybus",
    "car": "ambulance, beach wagon, cab, convertible, jeep, limousine, minivan, Model T, "
    "police van, racer, sports car",
    "cell phone": "cellular telephone",
    "chair": "barber chair, folding chair, rocking chair",
    "clock": "analog clock, digital clock, wall clock",
    "couch": "studio couch",
    "cow": "ox, water buffalo, bison",
    "cup": "coffee mug, cup",
    "dining table": "dining table",
    "handbag": "purse",
    "horse": "sorrel",
    "hot dog": "hotdog",
    "keyboard": "computer keyboard, typewriter keyboard",
    "laptop": "laptop, notebook",
    "microwave": "microwave",
    "motorcycle": "moped, motor scooter",
    "mouse": "mouse",
    "orange": "orange",
    "oven": "stove",
    "parking meter": "parking meter",
    "pizza": "pizza",
    "potted plant": "pot",
    "refrigerator": "refrigerator",
    "remote": "remote control",
    "sheep": "ram, bighorn",
    "sink": "washbasin",
    "skis": "ski",
    "sports ball": "baseball, basketball, croquet ball, golf ball, ping-pong ball, rugby ball, "
    "soccer ball, tennis ball, volleyball",
    "teddy bear": "teddy",
    "tie": "bow tie, bolo tie, Windsor tie",
    "toaster": "toaster",
    "toilet": "toilet seat",
    "traffic light": "traffic light",
    "train": "bullet train, electric locomotive, freight car, passenger car, steam locomotive",
    "truck": "fire engine, garbage truck, moving van, pickup, tow truck, trailer truck",
    "tv": "monitor, screen, television",
    "umbrella": "umbrella",
    "vase": "vase",
    "zebra": "zebra",
}


class SecondOpinion:
    """Classifies what is in a box.

    Attributes:
        labels: The labels that it can give, those of the vocabulary that it has a class for.
    """

    def __init__(self, vocabulary: Sequence[str], compute: Compute) -> None:
        """Load the classifier.

        Args:
            vocabulary: The detector's labels.
            compute: Where to run it.

        Raises:
            WeightsError: If the embedded model is missing or damaged.
        """
        folder = weights.locate(_MODEL)
        self._network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        self._network.requires_grad_(False).to(compute.device)
        self._device = compute.device
        about = self._network.pretrained_cfg
        self._size = tuple(about["input_size"][:0:-1])  # width and height
        self._mean, self._deviation = (
            torch.tensor(about[key], device=self._device).reshape(3, 1, 1)
            for key in ("mean", "std")
        )
        classes = {
            label: chosen for label, chosen in imagenet_classes().items() if label in vocabulary
        }
        self.labels = tuple(classes)
        self._classes = tuple(classes.values())

    @torch.no_grad()
    def label(self, crops: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        """Name what is seen in each crop.

        Args:
            crops: (H, W, 3) uint8 arrays in BGR order; sizes may differ.

        Returns:
            Of each crop the likeliest label and its probability, of all the classes of that label
            together; an empty label where another class of ImageNet is likelier than each label.
        """
        opinions: list[tuple[str, float]] = []
        for start in range(0, len(crops), _BATCH):
            pixels = self._preprocess(crops[start : start + _BATCH])
            shares = self._network(pixels).float().softmax(1).cpu().numpy()
            opinions += map(self._choose, shares)
        return opinions

    def relabel(self, image_bgr: np.ndarray, truth: Detections) -> Detections:
        """Change labels that the detector was unsure of and the classifier is sure of.

        A label that the classifier has no class for stays: of a person it could only name the
        clothes.

        Args:
            image_bgr: (H, W, 3) uint8.
            truth: Objects in that image.

        Returns:
            The same objects.
        """
        crops = {i: _crop(image_bgr, truth.xyxy[i]) for i in self._questionable(truth)}
        crops = {i: crop for i, crop in crops.items() if min(crop.shape[:2]) >= _LEAST_SIDE}
        labels = list(truth.labels)
        for i, (label, share) in zip(crops, self.label([*crops.values()]), strict=True):
            if label and share > _SURE_OPINION:
                labels[i] = label
        return replace(truth, labels=tuple(labels))

    def _questionable(self, truth: Detections) -> list[int]:
        return [
            i
            for i, label in enumerate(truth.labels)
            if label in self.labels and truth.scores[i] < _SURE_DETECTOR
        ]

    def _preprocess(self, crops: Sequence[np.ndarray]) -> torch.Tensor:
        """(B, 3, height, width), each crop stretched over all of it."""
        resized = [cv2.resize(crop, self._size, interpolation=cv2.INTER_AREA) for crop in crops]
        rgb = np.stack(resized)[..., ::-1].transpose(0, 3, 1, 2)
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(self._device)
        return (pixels / 255 - self._mean) / self._deviation

    def _choose(self, shares: np.ndarray) -> tuple[str, float]:
        """The likeliest label of the shares of 1000 classes."""
        sums = [float(shares[chosen].sum()) for chosen in self._classes]
        best = int(np.argmax(sums)) if sums else -1
        known = np.concatenate(self._classes) if sums else np.zeros(0, int)
        other = float(np.delete(shares, known).max(initial=0.0))
        if not sums or other > sums[best]:
            return "", other
        return self.labels[best], sums[best]


def imagenet_classes() -> dict[str, np.ndarray]:
    """The classes of ImageNet (0 to 999, int64) that are kinds of each label of COCO."""
    info = ImageNetInfo("imagenet-1k")
    first_names: dict[str, list[int]] = {}
    for index in range(info.num_classes()):
        first_names.setdefault(info.index_to_description(index).split(",")[0], []).append(index)
    chosen = {
        label: np.concatenate([np.arange(first, last + 1) for first, last in ranges])
        for label, ranges in _RANGES.items()
    }
    for label, names in _NAMES.items():
        chosen[label] = np.array([i for name in names.split(", ") for i in first_names[name]])
    return chosen


def _crop(image: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
    """The part of an image in a box and a little around it; empty where there is none."""
    height, width = image.shape[:2]
    margin = _MARGIN * np.tile(xyxy[2:] - xyxy[:2], 2) * np.array([-1, -1, 1, 1])
    edges = np.rint(xyxy + margin).clip(0, [width, height, width, height]).astype(int)
    left, top, right, bottom = edges.tolist()
    return image[top:bottom, left:right]
