# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip("std_msgs.msg", reason="needs the messages of ROS 2")

from builtin_interfaces.msg import Time

from mrmllm_ros.ros.conversions.headers import header_of, nanoseconds


@pytest.mark.parametrize(
    "stamp",
    [
        Time(sec=1_700_000_000, nanosec=123_456_789),
        Time(sec=1, nanosec=999_999_999),
        Time(sec=0, nanosec=1),
        Time(sec=2**31 - 1, nanosec=1),
        Time(),
    ],
    ids=str,
)
def test_a_stamp_is_kept_to_the_nanosecond(stamp, make_scene):
    frame = make_scene(stamp_ns=nanoseconds(stamp)).frame
    assert header_of(frame).stamp == stamp


def test_nanoseconds_count_from_the_epoch():
    assert nanoseconds(Time(sec=3, nanosec=7)) == 3_000_000_007


def test_an_image_without_stamp_keeps_its_zero_stamp(make_scene):
    frame = make_scene(stamp_ns=0).frame
    assert frame.captured_ns > 0
    assert header_of(frame).stamp == Time()


@pytest.mark.parametrize("frame_id", ["", "front_optical", "robot1/camera optical"])
def test_the_coordinate_frame_is_kept(frame_id, make_scene):
    assert header_of(make_scene(frame_id=frame_id).frame).frame_id == frame_id
