# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.engine.scene import Frame, Scene
from mrmllm_ros.perception.detector import Perception


@pytest.fixture
def make_scene(make_detections):
    """Makes a scene of detections as `make_detections` takes them."""

    def make(*objects, stamp_ns=1_700_000_000_123_456_789, frame_id="front_optical"):
        detections = make_detections(*objects)
        width, height = detections.resolution_wh
        frame = Frame(
            image=np.zeros((height, width, 3), np.uint8),
            camera="front",
            frame_id=frame_id,
            stamp_ns=stamp_ns,
            received_ns=stamp_ns + 5_000_000,
        )
        return Scene(frame, Perception(detections), latency_s=0.25)

    return make
