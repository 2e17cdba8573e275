# SPDX-License-Identifier: Apache-2.0
"""Convert `PointCloud2` messages to and from (N, 3) float32 arrays."""

from __future__ import annotations

import array
import sys
from collections.abc import Mapping

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.ros.packages import debian_package

_AXES = ("x", "y", "z")
_OBJECT_POINT = np.dtype([*((axis, np.float32) for axis in _AXES), ("id", np.uint32)])


class PointCloudError(MrmllmError):
    """A point cloud cannot be read; the message says why."""


def check_reader() -> None:
    """Raise `PointCloudError` if sensor_msgs_py is not installed."""
    _reader()


def points_from_cloud(message: PointCloud2) -> np.ndarray:
    """Read an organized or unorganized cloud with `sensor_msgs_py`.

    Returns:
        (N, 3) float32 in meters in the frame of the message; points may be NaN or infinite.

    Raises:
        PointCloudError: If a field or data is missing, or sensor_msgs_py is not installed.
    """
    reader = _reader()
    names = [field.name for field in message.fields]
    if missing := [axis for axis in _AXES if axis not in names]:
        raise PointCloudError(
            f"the cloud has no {', '.join(missing)} (fields: {', '.join(names) or 'none'})"
        )
    try:
        points = reader.read_points(_packed(message), _AXES)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise PointCloudError(f"the cloud cannot be read: {error}") from error
    return np.stack([points[axis] for axis in _AXES], 1).astype(np.float32)


def cloud_from_objects(header: Header, points: Mapping[int, np.ndarray]) -> PointCloud2:
    """Make a cloud of the points of several objects, with the fields x, y, z and id.

    Args:
        header: Header of the message.
        points: (N, 3) points of each object in meters, by its id.
    """
    count = sum(map(len, points.values()))
    packed = np.empty(count, _OBJECT_POINT)
    if count:
        for axis, values in zip(_AXES, np.concatenate([*points.values()]).T, strict=True):
            packed[axis] = values
        packed["id"] = np.repeat([*points], [*map(len, points.values())])
    types = (*[PointField.FLOAT32] * 3, PointField.UINT32)
    message = PointCloud2(
        header=header,
        height=1,
        width=count,
        fields=[
            PointField(name=name, offset=_OBJECT_POINT.fields[name][1], datatype=code, count=1)
            for name, code in zip(_OBJECT_POINT.names, types, strict=True)
        ],
        is_bigendian=sys.byteorder == "big",
        point_step=_OBJECT_POINT.itemsize,
        row_step=_OBJECT_POINT.itemsize * count,
        is_dense=True,
    )
    # rclpy checks every value of other sequences.
    message.data = array.array("B", packed.tobytes())
    return message


def _reader():  # noqa: ANN202
    try:
        from sensor_msgs_py import point_cloud2
    except ModuleNotFoundError as error:
        raise PointCloudError(
            "reading point clouds needs sensor_msgs_py, which is not installed; install it "
            f"(sudo apt install {debian_package('sensor_msgs_py')}), or set source to depth"
        ) from error
    return point_cloud2


def _packed(message: PointCloud2) -> PointCloud2:
    """Remove the padding of rows, which sensor_msgs_py does not skip.

    Raises:
        PointCloudError: If the data is too short.
    """
    row_bytes = message.width * message.point_step
    rows = message.height if row_bytes else 0
    needed = message.row_step * (rows - 1) + row_bytes if rows else 0
    if len(message.data) < needed or (rows > 1 and message.row_step < row_bytes):
        raise PointCloudError(
            f"the cloud has {len(message.data)} bytes and rows of {message.row_step}, too few for "
            f"{message.height} x {message.width} points of {message.point_step} bytes"
        )
    if rows <= 1 or message.row_step == row_bytes:
        return message
    data = np.frombuffer(message.data, np.uint8)
    kept = np.lib.stride_tricks.as_strided(data, (rows, row_bytes), (message.row_step, 1))
    packed = PointCloud2(
        height=message.height,
        width=message.width,
        fields=message.fields,
        is_bigendian=message.is_bigendian,
        point_step=message.point_step,
        row_step=row_bytes,
    )
    packed.data = array.array("B", kept.tobytes())
    return packed
