# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.answering.answerer import EncodedImage
from mrmllm_ros.detection.detections import Attribute
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.engine.scene import EnrichedScene, Frame, Scene


@pytest.fixture
def make_scene(make_detections):
    """Makes a scene of candidates as `make_detections` takes them, in the order they have."""

    def make(
        *objects,
        stamp_ns=1_700_000_000_123_456_789,
        frame_id="front_optical",
        score_threshold=0.0,
    ):
        candidates = make_detections(*objects)
        width, height = candidates.resolution_wh
        frame = Frame(
            image=np.zeros((height, width, 3), np.uint8),
            camera="front",
            frame_id=frame_id,
            stamp_ns=stamp_ns,
            received_ns=stamp_ns + 5_000_000,
        )
        perception = Perception(candidates, score_threshold=score_threshold)
        return Scene(frame, perception, latency_s=0.25, perceived_s=12.5)

    return make


@pytest.fixture
def enriched_scene(make_scene, make_detections):
    """A bus [1], a person [2] that fusion leaves out, a doubtful box [3] that is a forklift."""
    scene = make_scene(
        ("bus", 0.75, (0, 0, 600, 400)),
        ("person", 0.5, (10, 20, 110, 220)),
        ("box", 0.125, (100, 100, 300, 200)),
        score_threshold=0.3,
    )
    enriched = EnrichedDetections(
        fused=make_detections(
            ("bus", 0.875, (0, 0, 600, 400)),
            ("person", 0.0625, (10, 20, 110, 220)),
            ("forklift", 0.625, (100, 100, 320, 220)),
        ),
        detector=scene.perception.candidates,
        reported=np.array([0, 2]),
        novelty=np.array([0.0, 0.5, 0.75], np.float32),
        attributes=(
            (Attribute("color", "red", 0.5), Attribute("state", "parked", 0.25)),
            (),
            (Attribute("color", "yellow", 0.75),),
        ),
    )
    return EnrichedScene(scene, EncodedImage(enriched), latency_s=0.5)
