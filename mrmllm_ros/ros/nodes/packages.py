# SPDX-License-Identifier: Apache-2.0
"""ROS packages that only some uses need."""

from __future__ import annotations

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.ros.conversions.debian import debian_package


class PackageMissingError(MrmllmError):
    """A ROS package is not installed; the message says how to get it."""


def require_packages(*names: str) -> None:
    """Check that ROS packages are installed.

    Args:
        names: Such as `rviz2`.

    Raises:
        PackageMissingError: If they are not.
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
