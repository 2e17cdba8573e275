# SPDX-License-Identifier: Apache-2.0
"""Drawn scenes in the format of rendered ones, and a detector of their colors."""

import json

import cv2
import numpy as np
import pytest
import torch
from making import PERCEPTION_WIDTH, detector_stub

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.model.backbones import Backbones

COLORS = {"red": (0, 0, 255), "green": (0, 160, 0), "blue": (255, 0, 0)}
# Sheep that the photograph of a scene of cut-outs shows.
CROWD = {"label": "sheep", "bbox": [0, 0, 640, 480], "area": 640 * 480, "iscrowd": 1}


def rendered(label, box, color="red", **fields):
    """Annotation of a drawn rectangle; the box has corners."""
    left, top, right, bottom = box
    return {
        "label": label,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
        "occlusion": 0.0,
        "truncation": 0.0,
        "distance": 2.0,
        "color": color,
        "model": f"shape/{label}",
        **fields,
    }


@pytest.fixture
def write_scenes(tmp_path):
    """Function that draws rectangles into images and writes a folder of rendered scenes.

    Each image is given by its annotations from `rendered` and the fields of its entry.
    """

    def write(*images, name="scenes"):
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True, exist_ok=True)
        labels = sorted({each["label"] for objects, _ in images for each in objects})
        entries, annotations = [], []
        for number, (objects, fields) in enumerate(images):
            image = np.full((480, 640, 3), 200, np.uint8)
            for each in objects:
                if "color" in each:
                    left, top, width, height = each["bbox"]
                    corner = (left + width - 1, top + height - 1)
                    cv2.rectangle(image, (left, top), corner, COLORS[each["color"]], -1)
                rest = {key: value for key, value in each.items() if key != "label"}
                ids = {"id": len(annotations) + 1, "image_id": number}
                category = labels.index(each["label"]) + 1
                annotations.append({**ids, "category_id": category, **rest})
            file = f"images/{number:06d}.png"
            cv2.imwrite(str(folder / file), image)
            size = {"width": 640, "height": 480}
            entries.append({"id": number, "file_name": file, **size, **fields})
        content = {
            "categories": [{"id": i, "name": label} for i, label in enumerate(labels, start=1)],
            "images": entries,
            "annotations": annotations,
        }
        (folder / "annotations.json").write_text(json.dumps(content))
        return folder

    return write


class ColorDetector:
    """Finds the largest region of each color, and names it after `names`.

    The features are the color, so that they tell more than the name.
    """

    def __init__(self, names, score=0.8):
        self.__dict__.update(vars(detector_stub(labels=tuple(dict.fromkeys(names.values())))))
        self._names, self._score = names, score

    def detect(self, images):
        return [self._detect(image) for image in images]

    def _detect(self, image):
        boxes, labels, features = [], [], []
        for number, (color, bgr) in enumerate(COLORS.items()):
            mask = cv2.inRange(image, bgr, bgr)
            if color in self._names and mask.any():
                left, top, width, height = cv2.boundingRect(mask)
                boxes.append([left, top, left + width, top + height])
                labels.append(self._names[color])
                features.append(np.eye(PERCEPTION_WIDTH, dtype=np.float32)[number])
        candidates = Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.full(len(boxes), self._score, np.float32),
            tuple(labels),
            (640, 480),
        )
        rows = np.array(features, np.float32).reshape(-1, PERCEPTION_WIDTH)
        return Perception.ranked(candidates, 0.3, torch.from_numpy(rows))


@pytest.fixture
def color_backbones(load_tiny):
    """Function that makes backbones whose detector names regions by their color."""

    def make(**names):
        return Backbones(load_tiny(), ColorDetector(names))

    return make
