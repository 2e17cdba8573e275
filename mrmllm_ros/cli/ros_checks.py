# SPDX-License-Identifier: Apache-2.0
"""What commands that need ROS 2 check first."""

from __future__ import annotations

from mrmllm_ros.environment import apply_ros_log
from mrmllm_ros.errors import MrmllmError


class RosMissingError(MrmllmError):
    """ROS 2 or the package's messages are not in reach; the message says what to do."""


def require_ros() -> None:
    """Check that rclpy and the package's own messages can be imported.

    ROS's logs of the command and the processes that it starts go to the package's home.

    Raises:
        RosMissingError: If they cannot.
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
