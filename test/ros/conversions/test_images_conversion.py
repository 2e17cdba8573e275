# SPDX-License-Identifier: Apache-2.0
import array

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="needs the messages of ROS 2")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.ros.conversions.image_messages import (
    bgr_from_message,
    image_from_bgr,
    jpeg_from_bgr,
)

WIDTH, HEIGHT = 30, 20
PADDING = 5


@pytest.fixture
def picture():
    """(20, 30, 3) in BGR order, smooth enough for JPEG; no channel is like another."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.dstack([columns * 8, rows * 12, 255 - columns * 4 - rows * 4]).astype(np.uint8)


@pytest.fixture
def gray():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), np.uint8)


@pytest.fixture
def header():
    return Header(stamp=Time(sec=1_700_000_000, nanosec=123_456_789), frame_id="front_optical")


def alpha():
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH), np.uint8)


COLORS = {
    "rgb8": lambda bgr: bgr[..., ::-1],
    "bgr8": lambda bgr: bgr,
    "rgba8": lambda bgr: np.dstack([bgr[..., ::-1], alpha()]),
    "bgra8": lambda bgr: np.dstack([bgr, alpha()]),
}


def message(pixels, encoding, padding=0, is_bigendian=0):
    """A raw image whose rows end with so many bytes that belong to no pixel."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1).view(np.uint8)
    rows = np.hstack([rows, np.full((height, padding), 99, np.uint8)])
    image = Image(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=rows.shape[1],
    )
    image.data = array.array("B", rows.tobytes())
    return image


def compressed(suffix, pixels, format="", options=()):
    data = cv2.imencode(suffix, pixels, options)[1].tobytes()
    return CompressedImage(format=format, data=array.array("B", data))


@pytest.mark.parametrize("is_bigendian", [0, 1])
@pytest.mark.parametrize("padding", [0, PADDING])
@pytest.mark.parametrize("encoding", COLORS)
def test_every_color_encoding_gives_the_same_picture(encoding, padding, is_bigendian, picture):
    image = message(COLORS[encoding](picture), encoding, padding, is_bigendian)
    decoded = bgr_from_message(image)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, picture)


@pytest.mark.parametrize("is_bigendian", [0, 1])
@pytest.mark.parametrize("padding", [0, PADDING])
def test_gray_is_spread_over_three_channels(padding, is_bigendian, gray):
    decoded = bgr_from_message(message(gray, "mono8", padding, is_bigendian))
    np.testing.assert_array_equal(decoded, np.dstack([gray] * 3))


@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize(
    ("color", "bgr"), [("b", (200, 0, 0)), ("g", (0, 200, 0)), ("r", (0, 0, 200))]
)
@pytest.mark.parametrize(("bits", "dtype", "scale"), [(8, np.uint8, 1), (16, np.uint16, 257)])
def test_a_bayer_pattern_gives_the_color_of_its_cells(order, color, bgr, bits, dtype, scale):
    cell = np.array([200 * scale if name == color else 0 for name in order], dtype)
    pattern = np.tile(cell.reshape(2, 2), (8, 8))
    decoded = bgr_from_message(message(pattern, f"bayer_{order}{bits}"))
    np.testing.assert_array_equal(decoded[4:12, 4:12], np.broadcast_to(bgr, (8, 8, 3)))


def test_the_last_row_may_lack_its_padding(picture):
    image = message(picture, "bgr8", PADDING)
    image.data = image.data[:-PADDING]
    np.testing.assert_array_equal(bgr_from_message(image), picture)


def test_bytes_behind_the_last_row_do_not_matter(picture):
    image = message(picture, "bgr8")
    image.data = image.data + array.array("B", [1, 2, 3])
    np.testing.assert_array_equal(bgr_from_message(image), picture)


def test_an_image_of_one_row_may_have_any_step(picture):
    image = message(picture[:1], "bgr8", PADDING)
    image.data = image.data[:-PADDING]
    np.testing.assert_array_equal(bgr_from_message(image), picture[:1])


@pytest.mark.parametrize("format", ["", "png", "bgr8; png compressed bgr8"])
def test_a_png_gives_the_same_picture_whatever_its_format_is_called(format, picture):
    np.testing.assert_array_equal(bgr_from_message(compressed(".png", picture, format)), picture)


def test_a_jpeg_gives_nearly_the_same_picture(picture):
    decoded = bgr_from_message(compressed(".jpg", picture, "jpeg", (cv2.IMWRITE_JPEG_QUALITY, 98)))
    assert decoded.shape == picture.shape
    assert np.abs(decoded.astype(int) - picture).max() < 25
    assert np.abs(decoded.astype(int) - picture).mean() < 4


def test_a_gray_png_is_spread_over_three_channels(gray):
    decoded = bgr_from_message(compressed(".png", gray))
    np.testing.assert_array_equal(decoded, np.dstack([gray] * 3))


def test_the_transparency_of_a_png_is_left_out(picture):
    decoded = bgr_from_message(compressed(".png", np.dstack([picture, alpha()])))
    np.testing.assert_array_equal(decoded, picture)


@pytest.mark.parametrize("size", [{"width": 0}, {"height": 0}, {"width": 0, "height": 0}])
def test_an_image_without_pixels_is_an_error(size, picture):
    image = message(picture, "bgr8")
    for name, value in size.items():
        setattr(image, name, value)
    with pytest.raises(ImageError, match=rf"empty: {image.width} x {image.height} pixels"):
        bgr_from_message(image)


@pytest.mark.parametrize("padding", [0, PADDING])
def test_a_single_missing_byte_is_an_error(padding, picture):
    image = message(picture, "bgr8", padding)
    image.data = image.data[: len(image.data) - padding - 1]
    with pytest.raises(ImageError, match=rf"has {len(image.data)} bytes, but 20 rows of"):
        bgr_from_message(image)


def test_an_image_without_data_is_an_error(picture):
    image = message(picture, "bgr8")
    image.data = array.array("B")
    with pytest.raises(ImageError, match="has 0 bytes"):
        bgr_from_message(image)


@pytest.mark.parametrize("step", [0, WIDTH, 3 * WIDTH - 1])
def test_a_step_too_small_for_the_pixels_is_an_error(step, picture):
    image = message(picture, "bgr8")
    image.step = step
    with pytest.raises(ImageError, match=f"step is {step} bytes, but 30 pixels of bgr8 take 90"):
        bgr_from_message(image)


@pytest.mark.parametrize("size", [("height", 2**32 - 1), ("width", 2**32 - 1)])
def test_an_image_that_claims_to_be_enormous_is_an_error(size, picture):
    image = message(picture, "bgr8")
    setattr(image, *size)
    with pytest.raises(ImageError, match="take"):
        bgr_from_message(image)


@pytest.mark.parametrize("encoding", ["", "rgb", "RGB8", "jpeg", "mono8; jpeg", "8UC", "\0"])
def test_an_unknown_encoding_is_named(encoding, picture):
    with pytest.raises(ImageError) as error:
        bgr_from_message(message(picture, encoding))
    assert repr(encoding) in str(error.value)


@pytest.mark.parametrize(("encoding", "dtype"), [("16UC1", np.uint16), ("32FC1", np.float32)])
def test_depth_is_no_picture_and_is_not_squeezed_into_eight_bits(encoding, dtype):
    depth = np.full((HEIGHT, WIDTH), 1500, dtype)
    with pytest.raises(ImageError, match=f"'{encoding}' is for measurements"):
        bgr_from_message(message(depth, encoding))


@pytest.mark.parametrize("data", [b"", b"garbage" * 50, b"\xff\xd8\xff\xe0"])
def test_compressed_bytes_that_are_no_image_are_an_error(data):
    with pytest.raises(ImageError, match=f"{len(data)} bytes are not a JPEG, PNG or other"):
        bgr_from_message(CompressedImage(format="jpeg", data=data))


def test_a_truncated_png_is_an_error(picture):
    image = compressed(".png", picture)
    image.data = image.data[:40]
    with pytest.raises(ImageError):
        bgr_from_message(image)


def test_a_picture_survives_the_way_into_a_message_and_back(picture, header):
    image = image_from_bgr(picture, header)
    assert (image.height, image.width, image.step) == (HEIGHT, WIDTH, 3 * WIDTH)
    assert (image.encoding, image.is_bigendian) == ("bgr8", 0)
    assert len(image.data) == picture.size
    np.testing.assert_array_equal(bgr_from_message(image), picture)


def test_a_view_with_gaps_survives_too(picture, header):
    view = picture[::2, ::-3]
    np.testing.assert_array_equal(bgr_from_message(image_from_bgr(view, header)), view)


def test_a_picture_survives_as_jpeg_up_to_its_loss(picture, header):
    image = jpeg_from_bgr(picture, header, quality=98)
    assert image.format == "bgr8; jpeg compressed bgr8"
    assert bytes(image.data[:3]) == b"\xff\xd8\xff"
    assert np.abs(bgr_from_message(image).astype(int) - picture).mean() < 4


def test_a_lower_quality_makes_a_smaller_jpeg(header, gray):
    noise = np.dstack([gray] * 3)
    low, high = (len(jpeg_from_bgr(noise, header, quality).data) for quality in (10, 95))
    assert low < high


def test_the_header_is_kept(picture, header):
    assert image_from_bgr(picture, header).header == header
    assert jpeg_from_bgr(picture, header, 90).header == header


def test_the_message_is_not_changed(picture):
    for encoding, colors in COLORS.items():
        image = message(colors(picture), encoding, PADDING, is_bigendian=1)
        before = (bytes(image.data), image.step, image.is_bigendian, image.encoding)
        bgr_from_message(image)
        assert (bytes(image.data), image.step, image.is_bigendian, image.encoding) == before
