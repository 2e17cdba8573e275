# SPDX-License-Identifier: Apache-2.0
"""How ROS packages are called where they are installed with apt."""

from __future__ import annotations

import os


def debian_package(name: str) -> str:
    """Name of the Debian package of a ROS package, in the distribution that is sourced.

    Args:
        name: Such as `vision_msgs`.

    Returns:
        Such as `ros-jazzy-vision-msgs`; `DISTRIBUTION` stands for one that is not known.
    """
    return f"ros-{os.environ.get('ROS_DISTRO', 'DISTRIBUTION')}-{name.replace('_', '-')}"
