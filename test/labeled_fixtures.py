# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of labeled images."""

import json

import cv2
import numpy as np
import pytest

# Of the street, (540, 405, 3): left, top, width, height.
BUS = [10, 115, 390, 265]
PEOPLE = ([27, 200, 93, 251], [335, 197, 70, 240], [110, 203, 62, 227])


@pytest.fixture(scope="module")
def images(tmp_path_factory, bus_image):
    folder = tmp_path_factory.mktemp("images")
    street = cv2.resize(bus_image, (405, 540), interpolation=cv2.INTER_AREA)
    (folder / "yard").mkdir()
    cv2.imwrite(str(folder / "yard" / "street.png"), street)
    cv2.imwrite(str(folder / "gray.png"), np.full((120, 160, 3), 128, np.uint8))
    return folder


def content():
    """A data set as it should be."""
    boxes = [(1, BUS), *((2, box) for box in PEOPLE)]
    return {
        "images": [
            {"id": 7, "file_name": "yard/street.png", "width": 405, "height": 540},
            {"id": 8, "file_name": "gray.png", "width": 160, "height": 120},
        ],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": category, "bbox": box, "iscrowd": 0}
            for n, (category, box) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 1, "name": "bus"}, {"id": 2, "name": "person"}],
    }


@pytest.fixture
def write(tmp_path):
    def write(values):
        path = tmp_path / "instances.json"
        path.write_text(values if isinstance(values, str) else json.dumps(values))
        return path

    return write


def rendered():
    """The street as a rendered scene: annotations name all objects, and more about each."""
    values = content()
    values["images"] = [values["images"][0] | {"place": "kitchen", "context": " a street "}]
    # A person is called a man, one is missed, and a kettle is where nothing is detected.
    values["categories"] += [{"id": 3, "name": "man"}, {"id": 4, "name": "kettle"}]
    bus, first, second, third = values["annotations"]
    bus |= {"occlusion": 0.5, "truncation": 0.0, "color": "pink", "distance": 12.25}
    first |= {"occlusion": 0.0, "truncation": 0.0, "color": None, "distance": 4.0}
    first |= {"category_id": 3}
    second |= {"occlusion": 0.0, "truncation": 0.3, "color": "green", "distance": 5.0, "ignore": 1}
    third |= {"occlusion": 0.0, "truncation": 0.0, "color": "black"}
    kettle = {"id": 9, "image_id": 7, "category_id": 4, "bbox": [200, 10, 80, 70], "iscrowd": 0}
    kettle |= {"occlusion": 0.0, "truncation": 0.0, "color": "blue", "distance": 2.0}
    values["annotations"].append(kettle)
    return values
