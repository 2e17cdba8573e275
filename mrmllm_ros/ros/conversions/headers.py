# SPDX-License-Identifier: Apache-2.0
"""Stamps and headers."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from mrmllm_ros.engine.scene import Frame

_NS = 1_000_000_000


def nanoseconds(stamp: Time) -> int:
    """A stamp in nanoseconds."""
    return stamp.sec * _NS + stamp.nanosec


def header_of(frame: Frame) -> Header:
    """The header that the frame's image came with."""
    sec, nanosec = divmod(frame.stamp_ns, _NS)
    return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame.frame_id)
