# SPDX-License-Identifier: Apache-2.0
"""Transforms between coordinate frames, by tf2 if it is installed."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time as Stamp
from geometry_msgs.msg import Transform
from rclpy.node import Node
from rclpy.time import Time

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.ros.conversions.location_messages import matrix_from_quaternion
from mrmllm_ros.ros.packages import debian_package


class TransformError(MrmllmError):
    """The transform between two frames is unknown; the message says why."""


class Transforms:
    """Listens to `/tf` and `/tf_static`; without tf2, only the identity is known."""

    def __init__(self, node: Node) -> None:
        """Start listening."""
        self._listener = None
        try:
            import tf2_ros
        except ModuleNotFoundError:
            return
        self._error = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def matrix(self, target: str, source: str, stamp: Stamp) -> np.ndarray:
        """Return the (4, 4) float64 transform of coordinates from `source` to `target`.

        Raises:
            TransformError: If tf2 is not installed or has no transform at that time.
        """
        if target == source:
            return np.eye(4)
        if self._listener is None:
            raise TransformError(
                f"no transform from {source!r} to {target!r} without tf2; install it "
                f"(sudo apt install {debian_package('tf2_ros_py')}), or publish in {target!r}"
            )
        try:
            transform = self._buffer.lookup_transform(target, source, Time.from_msg(stamp))
        except self._error as error:
            raise TransformError(f"no transform from {source!r} to {target!r}: {error}") from error
        return matrix_from_transform(transform.transform)

    def clear(self) -> None:
        """Clear the buffer after time has jumped back."""
        if self._listener is not None:
            self._buffer.clear()

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.unregister()


def matrix_from_transform(transform: Transform) -> np.ndarray:
    """Convert a transform to a homogeneous matrix, (4, 4) float64."""
    translation = transform.translation
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_quaternion(transform.rotation)
    matrix[:3, 3] = translation.x, translation.y, translation.z
    return matrix
