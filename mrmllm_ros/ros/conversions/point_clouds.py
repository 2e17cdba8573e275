# SPDX-License-Identifier: Apache-2.0
"""`PointCloud2` messages to and from (N, 3) float32 arrays."""

from __future__ import annotations

import array
import sys
from collections.abc import Mapping

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.ros.conversions.debian import debian_package

_AXES = ("x", "y", "z")
_OBJECT_POINT = np.dtype([*((axis, np.float32) for axis in _AXES), ("id", np.uint32)])


class PointCloudError(MrmllmError):
    """A point cloud cannot be used; the message says why."""


def check_reader() -> None:
    """Raise `PointCloudError` if the library that reads point clouds is missing."""
    _reader()


def points_from_cloud(message: PointCloud2) -> np.ndarray:
    """Read a cloud with `sensor_msgs_py`, organized or not.

    Returns:
        (N, 3) float32, in meters in the frame of the message; points may be NaN or infinite.

    Raises:
        PointCloudError: If the cloud has no x, y and z, is shorter than it says, or the library
            is missing.
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
    """Make one cloud of the points of several objects, with the fields x, y, z and id.

    Args:
        header: Taken over as it is.
        points: (N, 3) points of each object by its id, in meters.
    """
    count = sum(map(len, points.values()))
    packed = np.empty(count, _OBJECT_POINT)
    if count:
        for axis, values in zip(_AXES, np.concatenate([*points.values()]).T, strict=True):
            packed[axis] = values
        packed["id"] = np.repeat([*points], [len(own) for own in points.values()])
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
    # An array is taken over as it is; bytes would be checked one by one.
    message.data = array.array("B", packed.tobytes())
    return message


def _reader():  # noqa: ANN202
    try:
        from sensor_msgs_py import point_cloud2
    except ModuleNotFoundError as error:
        raise PointCloudError(
            "point clouds are read with sensor_msgs_py, which is not installed: apt install "
            f"{debian_package('sensor_msgs_py')}, or take source: depth"
        ) from error
    return point_cloud2


def _packed(message: PointCloud2) -> PointCloud2:
    """The cloud without what is behind the points of each row, which the library reads as points.

    Raises:
        PointCloudError: If the message is shorter than it says.
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
