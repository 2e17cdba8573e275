# SPDX-License-Identifier: Apache-2.0
"""Check of ROS 2 for commands that need it."""

from __future__ import annotations

from mrmllm_ros.environment import apply_ros_log
from mrmllm_ros.errors import MrmllmError


class RosMissingError(MrmllmError):
    """ROS 2 or the package's messages cannot be imported."""


def require_ros() -> None:
    """Check that rclpy and the package's messages can be imported.

    The logs of ROS, of the command and its child processes, go to the package's home.

    Raises:
        RosMissingError: If an import fails.
    """
    try:
        import rclpy  # noqa: F401

        import mrmllm_ros.srv  # noqa: F401
    except ImportError as error:
        raise RosMissingError(
            f"this command needs ROS 2 and the built package ({error}). Source its workspace "
            "(source install/setup.bash), or use scripts/run mrmllm …"
        ) from error
    apply_ros_log()
