# SPDX-License-Identifier: Apache-2.0
"""Optional ROS packages: check that they are installed, name the Debian package."""

from __future__ import annotations

import os

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from mrmllm_ros.errors import MrmllmError


class PackageMissingError(MrmllmError):
    """A ROS package is not installed; the message names the command that installs it."""


def debian_package(name: str) -> str:
    """Return the name of the Debian package of a ROS package.

    Args:
        name: ROS package, for example `vision_msgs`.

    Returns:
        For example `ros-jazzy-vision-msgs`, with `DISTRIBUTION` if no distribution is sourced.
    """
    return f"ros-{os.environ.get('ROS_DISTRO', 'DISTRIBUTION')}-{name.replace('_', '-')}"


def require_packages(*names: str) -> None:
    """Check that ROS packages are installed.

    Args:
        names: ROS packages, for example `rviz2`.

    Raises:
        PackageMissingError: If a package is not installed.
    """
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        debs = " ".join(map(debian_package, missing))
        raise PackageMissingError(
            f"ROS packages that are not installed: {', '.join(missing)}; on Ubuntu: "
            f"sudo apt install {debs}"
        )


def _is_installed(name: str) -> bool:
    try:
        get_package_prefix(name)
    except PackageNotFoundError:
        return False
    return True
