# SPDX-License-Identifier: Apache-2.0
import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mrmllm_ros import environment
from mrmllm_ros.detection.detections import Detections

environment.apply_ros_log()
# Before the import of transformers: tests do not wait for a model hub.
os.environ["HF_HUB_OFFLINE"] = "1"


def read_asset(name):
    """Read a photograph of the installed ultralytics without importing it."""
    [folder] = importlib.util.find_spec("ultralytics").submodule_search_locations
    image = cv2.imread(str(Path(folder) / "assets" / name))
    image.flags.writeable = False
    return image


@pytest.fixture(scope="session")
def bus_image():
    """(1080, 810, 3): a street with a bus and four people."""
    return read_asset("bus.jpg")


@pytest.fixture(scope="session")
def zidane_image():
    """(720, 1280, 3): two men."""
    return read_asset("zidane.jpg")


@pytest.fixture(scope="session")
def compute():
    """The CPU, so that results do not depend on the machine."""
    from mrmllm_ros.compute import Compute, ComputeSettings

    return Compute.from_settings(ComputeSettings(device="cpu"))


@pytest.fixture(scope="session")
def detector(compute):
    """The embedded detector."""
    from mrmllm_ros.detection.detector import DetectorSettings, load_detector

    return load_detector(DetectorSettings(), compute)


@pytest.fixture(scope="session")
def language_model(compute):
    """The embedded language model in float32."""
    from mrmllm_ros.model.language_model import LanguageModel
    from mrmllm_ros.model.model_settings import LanguageModelSettings

    return LanguageModel.load(LanguageModelSettings(quantization="none"), compute)


@pytest.fixture(scope="session")
def make_detections():
    """Function that makes detections of (label, score, (left, top, right, bottom)) tuples."""

    def make(*objects, resolution_wh=(640, 480)):
        if not objects:
            return Detections.empty(resolution_wh)
        labels, scores, boxes = zip(*objects, strict=True)
        return Detections(
            xyxy=np.array(boxes, np.float32),
            scores=np.array(scores, np.float32),
            labels=labels,
            resolution_wh=resolution_wh,
        )

    return make


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory):
    """A tiny vision-language model."""
    from tiny_vlm import save_tiny_vlm

    folder = tmp_path_factory.mktemp("models") / "tiny-vlm"
    save_tiny_vlm(folder)
    return folder
