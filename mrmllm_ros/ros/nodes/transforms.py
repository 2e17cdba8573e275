# SPDX-License-Identifier: Apache-2.0
"""Where one coordinate frame is in another, by tf2 where it is installed."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time as Stamp
from geometry_msgs.msg import Transform
from rclpy.node import Node
from rclpy.time import Time

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.ros.conversions.debian import debian_package
from mrmllm_ros.ros.conversions.location_messages import matrix_from_quaternion


class TransformError(MrmllmError):
    """Two frames cannot be related; the message says why."""


class Transforms:
    """Listens to `/tf` and `/tf_static`; without tf2 it knows no other frame."""

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
        """(4, 4) float64, from coordinates in `source` to coordinates in `target`.

        Raises:
            TransformError: If tf2 is not installed, or does not know both frames at that time.
        """
        if target == source:
            return np.eye(4)
        if self._listener is None:
            raise TransformError(
                f"no transform from the frame {source!r} to {target!r} without tf2: "
                f"apt install {debian_package('tf2_ros_py')}, or publish in {target!r}"
            )
        try:
            found = self._buffer.lookup_transform(target, source, Time.from_msg(stamp))
        except self._error as error:
            raise TransformError(f"no transform from {source!r} to {target!r}: {error}") from error
        return matrix_from_transform(found.transform)

    def clear(self) -> None:
        """Forget what moves: time has jumped back."""
        if self._listener is not None:
            self._buffer.clear()

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.unregister()


def matrix_from_transform(transform: Transform) -> np.ndarray:
    """(4, 4) float64, the homogeneous matrix of a transform."""
    translation = transform.translation
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_quaternion(transform.rotation)
    matrix[:3, 3] = translation.x, translation.y, translation.z
    return matrix
