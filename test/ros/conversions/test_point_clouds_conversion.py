# SPDX-License-Identifier: Apache-2.0
import array
import sys

import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="needs the messages of ROS 2")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from mrmllm_ros.ros.conversions.point_clouds import (
    PointCloudError,
    check_reader,
    cloud_from_objects,
    points_from_cloud,
)

HEADER = Header(stamp=Time(sec=1, nanosec=2), frame_id="front_optical")
POINTS = np.array([(1, 2, 3), (4, 5, 6), (np.nan, 8, 9), (10, 11, np.inf)], np.float32)


def message(points, rows=1, padding=0, is_bigendian=False, number="f4", names="xyz"):
    """An organized cloud with an intensity, and bytes that belong to no point after each row."""
    order = ">" if is_bigendian else "<"
    fields = [(name, f"{order}{number}") for name in names] + [("intensity", f"{order}u2")]
    packed = np.zeros(len(points), fields)
    for name, values in zip(names, points.T, strict=False):
        packed[name] = values
    data = packed.view(np.uint8).reshape(rows, -1)
    data = np.hstack([data, np.full((rows, padding), 255, np.uint8)])
    codes = {"f4": PointField.FLOAT32, "f8": PointField.FLOAT64, "u2": PointField.UINT16}
    cloud = PointCloud2(
        header=HEADER,
        height=rows,
        width=len(points) // rows,
        fields=[
            PointField(
                name=name,
                offset=packed.dtype.fields[name][1],
                datatype=codes[kind[1:]],
                count=1,
            )
            for name, kind in fields
        ],
        is_bigendian=is_bigendian,
        point_step=packed.itemsize,
        row_step=data.shape[1],
    )
    cloud.data = array.array("B", data.tobytes())
    return cloud


@pytest.fixture
def reader():
    pytest.importorskip("sensor_msgs_py.point_cloud2", reason="sensor_msgs_py is not installed")


@pytest.mark.parametrize("number", ["f4", "f8"])
@pytest.mark.parametrize(("rows", "padding"), [(1, 0), (2, 0), (2, 5), (4, 1)])
def test_every_layout_gives_the_same_points(reader, rows, padding, number):
    points = points_from_cloud(message(POINTS, rows, padding, number=number))
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, POINTS)


def test_the_other_order_of_bytes_gives_the_same_points(reader):
    np.testing.assert_array_equal(points_from_cloud(message(POINTS, is_bigendian=True)), POINTS)


def test_a_cloud_without_points_is_none(reader):
    assert points_from_cloud(message(POINTS[:0])).shape == (0, 3)


def test_a_cloud_without_coordinates_says_which_are_missing(reader):
    with pytest.raises(PointCloudError, match=r"no z \(fields: x, y, intensity\)"):
        points_from_cloud(message(POINTS, names="xy"))


def test_a_cloud_shorter_than_it_says_is_an_error(reader):
    cloud = message(POINTS)
    cloud.data = cloud.data[:-1]
    with pytest.raises(PointCloudError, match="too few for 1 x 4 points"):
        points_from_cloud(cloud)


def test_rows_shorter_than_their_points_are_an_error(reader):
    cloud = message(POINTS, rows=2)
    cloud.row_step = 3
    with pytest.raises(PointCloudError, match="rows of 3"):
        points_from_cloud(cloud)


def test_a_field_of_an_unknown_type_is_an_error(reader):
    cloud = message(POINTS)
    cloud.fields[0].datatype = 99
    with pytest.raises(PointCloudError, match="cannot be read"):
        points_from_cloud(cloud)


def test_a_cloud_of_objects_can_be_read_again(reader):
    cloud = cloud_from_objects(HEADER, {3: POINTS[:1], 5: POINTS[1:2]})
    np.testing.assert_array_equal(points_from_cloud(cloud), POINTS[:2])


def test_the_reader_need_not_be_installed_until_it_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "sensor_msgs_py", None)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    for use in (check_reader, lambda: points_from_cloud(message(POINTS))):
        with pytest.raises(PointCloudError, match="apt install ros-jazzy-sensor-msgs-py"):
            use()


def test_a_cloud_of_objects_has_their_points_and_ids():
    cloud = cloud_from_objects(HEADER, {3: POINTS[:2], 4: POINTS[:0], 5: POINTS[1:2]})
    assert cloud.header == HEADER
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ("x", 0, PointField.FLOAT32, 1),
        ("y", 4, PointField.FLOAT32, 1),
        ("z", 8, PointField.FLOAT32, 1),
        ("id", 12, PointField.UINT32, 1),
    ]
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 3, 16, 48)
    packed = np.frombuffer(cloud.data, [("xyz", "3f4"), ("id", "u4")])
    np.testing.assert_array_equal(packed["xyz"], POINTS[[0, 1, 1]])
    assert packed["id"].tolist() == [3, 3, 5]


def test_a_cloud_of_no_objects_is_empty():
    cloud = cloud_from_objects(HEADER, {})
    assert (cloud.width, cloud.row_step, len(cloud.data)) == (0, 0, 0)
    assert cloud.height == 1
