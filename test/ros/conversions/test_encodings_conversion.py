# SPDX-License-Identifier: Apache-2.0
"""Every encoding of sensor_msgs/image_encodings.hpp: decoded right, or rejected with a fix."""

import array
import gc
import re

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="needs the messages of ROS 2")

from sensor_msgs.msg import Image

from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.ros.conversions.image_messages import bgr_from_message

WIDTH, HEIGHT, PADDING = 32, 20, 6
COLORS = {
    "red": (200, 30, 20),
    "green": (30, 180, 40),
    "blue": (20, 40, 190),
    "gray": (128, 128, 128),
}


@pytest.fixture
def picture():
    """(20, 32, 3) in BGR order, of soft colors; no channel is like another."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    planes = [60 + columns * 4, 60 + rows * 6, 200 - columns * 2 - rows * 2]
    return np.dstack(planes).astype(np.uint8)


def raw(rows, encoding, size=(WIDTH, HEIGHT), is_bigendian=0, padding=0):
    """A message of (rows, bytes) uint8, with so many more bytes at the end of each row."""
    rows = np.hstack([rows, np.full((len(rows), padding), 99, np.uint8)])
    image = Image(width=size[0], height=size[1], encoding=encoding, is_bigendian=is_bigendian)
    image.step = rows.shape[1]
    image.data = array.array("B", rows.tobytes())
    return image


def yuv(bgr):
    """(H, W) luma and (H, W, 2) U and V of BT.601, limited range, as (H, W) float arrays."""
    b, g, r = np.moveaxis(bgr.astype(float), -1, 0)
    y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    return (plane.round().astype(np.uint8) for plane in (y, u, v))


def packed(bgr, order):
    """Rows of two pixels in four bytes, in the order of such as `uyvy`."""
    y, u, v = yuv(bgr)
    parts = {"y": iter((y[:, ::2], y[:, 1::2])), "u": iter([u[:, ::2]]), "v": iter([v[:, ::2]])}
    return np.dstack([next(parts[name]) for name in order]).reshape(len(bgr), -1)


def half_planes(bgr, order):
    y, u, v = (plane for plane in yuv(bgr))
    chroma = {"u": u[::2, ::2], "v": v[::2, ::2]}
    pairs = np.dstack([chroma[name] for name in order])
    return np.vstack([y, pairs.reshape(len(bgr) // 2, -1)])


def swap(values):
    return np.ascontiguousarray(values).reshape(len(values), -1).astype(">u2").view(np.uint8)


def wide(values):
    """16 bits of the same brightness, little-endian."""
    return (values.astype("<u2") * 257).reshape(len(values), -1).view(np.uint8)


def with_alpha(pixels):
    return np.dstack([pixels, np.full(pixels.shape[:2], 7, np.uint8)])


CHANNELS = {
    "rgb": lambda bgr: bgr[..., ::-1],
    "bgr": lambda bgr: bgr,
    "rgba": lambda bgr: with_alpha(bgr[..., ::-1]),
    "bgra": with_alpha,
}
PACKED = {"uyvy": "uyvy", "yuv422": "uyvy", "yuyv": "yuyv", "yuv422_yuy2": "yuyv"}


@pytest.mark.parametrize("padding", [0, PADDING])
@pytest.mark.parametrize("name", CHANNELS)
def test_sixteen_bits_give_the_picture_of_eight(name, padding, picture):
    pixels = CHANNELS[name](picture)
    little = raw(wide(pixels), f"{name}16", padding=padding)
    big = raw(swap(pixels.astype("u2") * 257), f"{name}16", is_bigendian=1, padding=padding)
    np.testing.assert_array_equal(bgr_from_message(little), picture)
    np.testing.assert_array_equal(bgr_from_message(big), picture)


@pytest.mark.parametrize("is_bigendian", [0, 1])
def test_gray_of_sixteen_bits_is_scaled_from_65535_to_255(is_bigendian):
    values = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * 102
    rows = swap(values) if is_bigendian else values.astype("<u2").view(np.uint8)
    decoded = bgr_from_message(raw(rows, "mono16", is_bigendian=is_bigendian))
    expected = np.rint(values * (255 / 65535)).astype(np.uint8)
    np.testing.assert_array_equal(decoded, np.dstack([expected] * 3))


@pytest.mark.parametrize("padding", [0, PADDING])
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("encoding", PACKED)
def test_packed_yuv_gives_its_color(encoding, color, padding):
    bgr = np.full((HEIGHT, WIDTH, 3), COLORS[color], np.uint8)
    decoded = bgr_from_message(raw(packed(bgr, PACKED[encoding]), encoding, padding=padding))
    np.testing.assert_allclose(decoded.astype(int), bgr, atol=3)


@pytest.mark.parametrize("padding", [0, PADDING])
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize(("encoding", "order"), [("nv12", "uv"), ("nv21", "vu")])
def test_yuv_with_half_of_the_chroma_gives_its_color(encoding, order, color, padding):
    bgr = np.full((HEIGHT, WIDTH, 3), COLORS[color], np.uint8)
    decoded = bgr_from_message(raw(half_planes(bgr, order), encoding, padding=padding))
    np.testing.assert_allclose(decoded.astype(int), bgr, atol=3)


@pytest.mark.parametrize("padding", [0, PADDING])
def test_yuv_with_all_of_the_chroma_gives_the_picture(padding, picture):
    y, u, v = yuv(picture)
    luma = np.hstack([y, np.full((HEIGHT, padding), 9, np.uint8)])
    chroma = np.hstack(
        [np.dstack([u, v]).reshape(HEIGHT, -1), np.full((HEIGHT, 2 * padding), 9, np.uint8)]
    )
    image = raw(luma, "nv24")
    image.data = array.array("B", luma.tobytes() + chroma.tobytes())
    np.testing.assert_allclose(bgr_from_message(image).astype(int), picture, atol=3)


@pytest.mark.parametrize("encoding", [*PACKED, "nv12", "nv21"])
def test_the_brightness_of_each_pixel_stays_where_it_is(encoding, picture):
    gray = np.dstack([cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)] * 3)
    rows = packed(gray, PACKED[encoding]) if encoding in PACKED else half_planes(gray, "uv")
    np.testing.assert_allclose(bgr_from_message(raw(rows, encoding)).astype(int), gray, atol=2)


@pytest.mark.parametrize("encoding", [*PACKED, "nv12", "nv21"])
def test_an_odd_width_is_rejected_where_two_pixels_share_their_color(encoding):
    image = raw(np.zeros((HEIGHT * 3, 2 * WIDTH), np.uint8), encoding, size=(WIDTH - 1, HEIGHT))
    with pytest.raises(ImageError, match=rf"{encoding} .* the width is 31; set an even width"):
        bgr_from_message(image)


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_an_odd_height_is_rejected_where_two_rows_share_their_color(encoding):
    image = raw(np.zeros((HEIGHT * 3, WIDTH), np.uint8), encoding, size=(WIDTH, HEIGHT - 1))
    with pytest.raises(ImageError, match=rf"{encoding} .* the height is 19; set an even"):
        bgr_from_message(image)


@pytest.mark.parametrize(
    ("encoding", "rows", "row_bytes"),
    [("uyvy", 20, 64), ("nv12", 30, 32), ("nv21", 30, 32), ("nv24", 60, 32), ("mono16", 20, 64)],
)
def test_a_single_missing_byte_is_rejected(encoding, rows, row_bytes):
    image = raw(np.full((rows, row_bytes), 128, np.uint8), encoding)
    assert bgr_from_message(image).shape == (HEIGHT, WIDTH, 3)
    image.data = image.data[:-1]
    with pytest.raises(ImageError, match=rf"has {rows * row_bytes - 1} bytes, but .* take"):
        bgr_from_message(image)


@pytest.mark.parametrize(
    ("encoding", "fix"),
    {
        "8UC1": "publish mono8",
        "8UC": "publish mono8",
        "8UC3": "publish bgr8 or rgb8",
        "8UC4": "publish bgra8 or rgba8",
        "16UC3": "publish bgr16 or rgb16",
        "16UC4": "publish bgra16 or rgba16",
        **{
            f"{depth}C{channels}": "use the topic of the color image"
            for depth in ("8S", "16S", "32S", "32F", "64F")
            for channels in (1, 2, 3, 4)
        },
        "8UC2": "use the topic of the color image",
        "16UC1": "use the topic of the color image",
        "16UC2": "use the topic of the color image",
        "bayer_rggb12": "supported encodings: .*bayer_rggb8.*mono8.*nv21.*rgb8.*uyvy",
        "yuv420p": "supported encodings",
    }.items(),
)
def test_an_encoding_without_colors_is_rejected_with_what_to_do(encoding, fix):
    image = raw(np.zeros((HEIGHT, WIDTH * 32), np.uint8), encoding)
    with pytest.raises(ImageError, match=rf"encoding {re.escape(repr(encoding))} .*{fix}|{fix}"):
        bgr_from_message(image)


def test_a_bgr8_image_is_not_copied_and_cannot_be_changed(picture):
    image = raw(picture.reshape(HEIGHT, -1), "bgr8")
    decoded = bgr_from_message(image)
    assert np.shares_memory(decoded, np.frombuffer(image.data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        decoded[:] = 0


def test_a_bgr8_picture_outlives_its_message(picture):
    decoded = bgr_from_message(raw(picture.reshape(HEIGHT, -1), "bgr8"))
    gc.collect()
    np.testing.assert_array_equal(decoded, picture)


@pytest.mark.parametrize("encoding", ["rgb8", "bgra8", "rgba8", "mono8"])
def test_a_converted_picture_is_the_callers_own(encoding, picture):
    pixels = CHANNELS[encoding[:-1]](picture) if encoding[:-1] in CHANNELS else picture[..., 1]
    image = raw(np.ascontiguousarray(pixels).reshape(HEIGHT, -1), encoding)
    decoded = bgr_from_message(image)
    decoded[:] = 0
    assert any(image.data)


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (8, 1)])
@pytest.mark.parametrize("encoding", ["bayer_rggb8", "bayer_grbg8"])
def test_a_bayer_image_without_a_whole_cell_is_rejected(encoding, size):
    image = raw(np.zeros(size[::-1], np.uint8), encoding, size=size)
    with pytest.raises(ImageError, match=f"at least 2 x 2 pixels, not {size[0]} x {size[1]}"):
        bgr_from_message(image)


@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "bgra8", "rgba8", "mono8", "bayer_rggb8"])
def test_cv_bridge_gives_the_same_picture(encoding, picture):
    bridge = pytest.importorskip("cv_bridge", reason="needs cv_bridge").CvBridge()
    name = encoding[:-1]
    pixels = CHANNELS[name](picture) if name in CHANNELS else picture[..., 1]
    image = raw(np.ascontiguousarray(pixels).reshape(HEIGHT, -1), encoding)
    expected = bridge.imgmsg_to_cv2(image, "bgr8")
    np.testing.assert_array_equal(bgr_from_message(image), expected)
