# SPDX-License-Identifier: Apache-2.0
"""The node with a recorded bag, whose clock jumps back."""

from itertools import islice

import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed: see requirements/test.txt")

from bags import BagPlayer, read_bag, write_bag
from mrmllm_ros.msg import Answer, DetectionArray
from mrmllm_ros.srv import Query

from mrmllm_ros.detection.playback import frames
from mrmllm_ros.ros.conversions.detection_messages import nanoseconds
from mrmllm_ros.ros.conversions.image_messages import bgr_from_message
from mrmllm_ros.weights import locate

NAMESPACE = "/test_bags"
# Years in the past: ages must not be measured by the system clock.
START_NS = 1_600_000_000_000_000_000
PERIOD_NS = 200_000_000
# Six seconds, of which a jump leaves out more than the greatest age of an answer's image.
COUNT = 30
FRAME_ID = "pole_optical_frame"


@pytest.fixture(scope="module")
def pictures():
    """Every second frame of a part of the sample video that is not used for training."""
    return list(islice(frames(locate("vtest") / "vtest.avi"), 600, 600 + 2 * COUNT, 2))


@pytest.fixture(scope="module")
def recorded(pictures, tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "people"
    write_bag(path, pictures, start_ns=START_NS, period_ns=PERIOD_NS, frame_id=FRAME_ID)
    return read_bag(path)


@pytest.fixture(scope="module")
def node(ros, start_node):
    with start_node("mrmllm_node", NAMESPACE, use_sim_time=True) as running_node:
        yield running_node


@pytest.fixture
def client(node, make_client):
    node.check()
    client = make_client(NAMESPACE)
    for topic in ("detections", "enriched_detections"):
        client.subscribe(DetectionArray, topic)
    client.subscribe(Answer, "answers")
    return client


@pytest.fixture
def player(client):
    return BagPlayer(client)


class Asking:
    """Question that is repeated until it is answered."""

    def __init__(self, client):
        self._client = client
        self._ask()

    def _ask(self):
        request = Query.Request(question="How many people are there?", max_new_tokens=4)
        self._pending = self._client.call_async(Query, "query", request)

    def __call__(self):
        if not self._pending.done():
            return False
        response = self._pending.result()
        if not response.success:
            assert response.error_code in (Query.Request.NO_IMAGE, Query.Request.STALE_IMAGE)
            self._ask()
        return response.success


def play_until(player, images, condition):
    """Play repeatedly; time jumps back before each pass but the first."""
    for _ in range(20):
        player.play(images)
        if condition():
            return
    raise AssertionError("twenty passes were not enough")


def stamps(messages):
    return [nanoseconds(message.header.stamp) for message in messages]


def assert_all_from(images, messages):
    """Check that every message has the header of an image."""
    headers = [image.header for image in images]
    assert messages
    assert all(message.header in headers for message in messages)


def test_a_bag_gives_back_what_was_recorded(recorded, pictures):
    assert len(recorded) == COUNT
    assert stamps(recorded) == [START_NS + i * PERIOD_NS for i in range(COUNT)]
    assert {image.header.frame_id for image in recorded} == {FRAME_ID}
    for image, picture in zip(recorded, pictures, strict=True):
        assert (bgr_from_message(image) == picture).all()


def test_every_output_carries_stamp_and_frame_of_its_image(player, client, recorded, node):
    play_until(player, recorded, Asking(client))
    assert client.spin_until(lambda: all(client.received.values()))
    for messages in client.received.values():
        assert_all_from(recorded, messages)
    found = [d.label for message in client.received["detections"] for d in message.detections]
    assert "person" in found
    assert "unusable" not in node.log_text()


def test_after_a_jump_back_in_time_every_output_comes_again(player, client, recorded, node):
    early = recorded[: COUNT // 2]
    player.play(recorded)
    for messages in client.received.values():
        messages.clear()
    # Answers must not be about images from before the jump.
    player.play(early[:3])
    play_until(player, early[3:], Asking(client))
    assert client.spin_until(lambda: all(client.received.values()))
    assert_all_from(early, client.received["answers"])
    for topic in ("detections", "enriched_detections"):
        # Results in progress during the jump are about the end of the bag.
        assert_all_from(recorded, client.received[topic])
        assert set(stamps(client.received[topic])) & set(stamps(early))
    assert "Traceback" not in node.log_text()
    node.check()
