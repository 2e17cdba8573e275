# SPDX-License-Identifier: Apache-2.0
import array

import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="needs the messages of ROS 2")

from sensor_msgs.msg import Image

from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.ros.conversions.image_messages import depth_from_image

# Of each encoding the type of a pixel and its units in a meter.
ENCODINGS = {"16UC1": ("u2", 1000), "mono16": ("u2", 1000), "32FC1": ("f4", 1)}


@pytest.fixture
def meters():
    """(4, 6), whole millimeters, with holes."""
    depth = np.random.default_rng(0).integers(1, 60_000, (4, 6)) / 1000
    depth[0, 0] = 0
    return depth.astype(np.float32)


def message(meters, encoding, padding=0, is_bigendian=0):
    code, units = ENCODINGS[encoding]
    pixels = np.round(meters * units, 3).astype(f"{'>' if is_bigendian else '<'}{code}")
    rows = np.ascontiguousarray(pixels).view(np.uint8)
    rows = np.hstack([rows, np.full((len(rows), padding), 99, np.uint8)])
    height, width = meters.shape
    image = Image(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=rows.shape[1],
    )
    image.data = array.array("B", rows.tobytes())
    return image


@pytest.mark.parametrize("is_bigendian", [0, 1])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_gives_the_same_meters(encoding, padding, is_bigendian, meters):
    depth = depth_from_image(message(meters, encoding, padding, is_bigendian))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, meters, rtol=1e-6)


def test_what_is_no_number_stays_none(meters):
    meters[1, 1], meters[2, 2] = np.nan, np.inf
    depth = depth_from_image(message(meters, "32FC1"))
    assert np.isnan(depth[1, 1])
    assert np.isinf(depth[2, 2])


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "8UC1", "32SC1", "", "16UC1; png"])
def test_what_is_no_depth_is_rejected_by_name(encoding, meters):
    image = message(meters, "16UC1")
    image.encoding = encoding
    with pytest.raises(ImageError, match="is not depth; use 16UC1, mono16, 32FC1") as error:
        depth_from_image(image)
    assert repr(encoding) in str(error.value)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_single_missing_byte_is_an_error(encoding, meters):
    image = message(meters, encoding)
    image.data = image.data[:-1]
    with pytest.raises(ImageError, match="bytes, but 4 rows of"):
        depth_from_image(image)


@pytest.mark.parametrize("size", [{"width": 0}, {"height": 0}])
def test_an_image_without_pixels_is_an_error(size, meters):
    image = message(meters, "16UC1")
    for name, value in size.items():
        setattr(image, name, value)
    with pytest.raises(ImageError, match="the image is empty"):
        depth_from_image(image)
