# SPDX-License-Identifier: Apache-2.0
"""A compressed image gives the picture that the raw image gives, or is rejected as it is."""

import array
import io

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="needs the messages of ROS 2")

from PIL import Image as PillowImage
from sensor_msgs.msg import CompressedImage, Image

from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.ros.conversions.image_messages import bgr_from_message

WIDTH, HEIGHT = 64, 48
BAYER = ["rggb", "bggr", "gbrg", "grbg"]
CHANNELS = {"b": 0, "g": 1, "r": 2}


@pytest.fixture
def picture():
    """(48, 64, 3) in BGR order, smooth; red is bright at the left and blue at the right."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    planes = [40 + columns * 3, 60 + rows * 2, 230 - columns * 3]
    return np.dstack(planes).astype(np.uint8)


def compressed(pixels, format, suffix=".png"):
    data = cv2.imencode(suffix, pixels)[1].tobytes()
    return CompressedImage(format=format, data=array.array("B", data))


def raw(pixels, encoding):
    pixels = np.ascontiguousarray(pixels)
    image = Image(width=pixels.shape[1], height=pixels.shape[0], encoding=encoding)
    image.data = array.array("B", pixels.tobytes())
    image.step = len(image.data) // image.height
    return image


def mosaic(bgr, order):
    """The pattern that a sensor with these filters sees."""
    pattern = np.empty(bgr.shape[:2], bgr.dtype)
    for i, name in enumerate(order):
        rows, columns = slice(i // 2, None, 2), slice(i % 2, None, 2)
        pattern[rows, columns] = bgr[rows, columns, CHANNELS[name]]
    return pattern


def with_alpha(bgr):
    return np.dstack([bgr, np.full(bgr.shape[:2], 7, bgr.dtype)])


def assert_near(decoded, picture, atol=8):
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(decoded.astype(int)[inner], picture[inner], atol=atol)


@pytest.mark.parametrize("order", BAYER)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("ending", ["; png compressed ", "; png compressed bayer_rggb8", ""])
def test_a_bayer_pattern_in_a_png_is_the_picture_of_the_raw_one(order, bits, ending, picture):
    encoding = f"bayer_{order}{bits}"
    pattern = mosaic(picture, order)
    pattern = pattern if bits == 8 else pattern.astype(np.uint16) * 257
    decoded = bgr_from_message(compressed(pattern, encoding + ending))
    np.testing.assert_array_equal(decoded, bgr_from_message(raw(pattern, encoding)))
    assert_near(decoded, picture)


def test_a_bayer_pattern_in_a_jpeg_has_its_colors(picture):
    """So compressed_image_transport writes it up to 2021."""
    pattern = mosaic(np.full_like(picture, (30, 60, 200)), "rggb")
    data = cv2.imencode(".jpg", pattern, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    decoded = bgr_from_message(CompressedImage(format="bayer_rggb8; jpeg compressed ", data=data))
    assert_near(decoded, np.full_like(picture, (30, 60, 200)))


def test_gray_that_was_made_of_a_bayer_pattern_stays_gray(picture):
    """So compressed_image_transport writes it today."""
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    image = compressed(gray, "bayer_rggb8; jpeg compressed mono8", ".jpg")
    assert_near(bgr_from_message(image), np.dstack([gray] * 3))


def test_colors_that_were_made_of_a_bayer_pattern_stay_as_they_are(picture):
    image = compressed(picture, "bayer_grbg8; png compressed bgr8")
    np.testing.assert_array_equal(bgr_from_message(image), picture)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".bmp", ".webp"])
@pytest.mark.parametrize(
    "format",
    [
        "",
        "jpeg",
        "jpg",
        "png",
        "JPEG",
        "image/jpeg",
        "bgr8",
        "bgr8; jpeg compressed bgr8",
        "rgb8; jpeg compressed bgr8",
        "rgb8; png compressed bgr8",
        "RGB8; PNG compressed BGR8",
        "rgba8; png compressed bgr8",
        "rgb16; jpeg compressed bgr8",
        "yuv422; jpeg compressed bgr8",
        "yuv422_yuy2; png compressed bgr8",
        "nv12; jpeg compressed bgr8",
        "mono8; jpeg compressed ",
        "rgb8; jpeg compressed",
        "bgr8;jpeg compressed bgr8",
        "8UC3; jpeg compressed bgr8",
        "some; thing new",
    ],
)
def test_colors_are_those_of_the_file_whatever_type_it_is(format, suffix, picture):
    decoded = bgr_from_message(compressed(picture, format, suffix))
    assert_near(decoded, picture, atol=10)


@pytest.mark.parametrize(
    "format",
    [
        "rgb8; tiff compressed ",
        "rgb8; png compressed rgb8",
        "bgr8; png compressed rgb8",
        "rgb8; jpeg compressed rgb8",
    ],
)
def test_red_and_blue_are_exchanged_where_the_format_says_that_the_file_has_them_so(
    format, picture
):
    image = compressed(picture[..., ::-1], format, ".png")
    np.testing.assert_array_equal(bgr_from_message(image), picture)


def test_bgr_in_a_tiff_is_not_exchanged(picture):
    image = compressed(picture, "bgr8; tiff compressed ", ".tiff")
    np.testing.assert_array_equal(bgr_from_message(image), picture)


@pytest.mark.parametrize("format", ["", "png", "rgb16; png compressed bgr16"])
def test_colors_of_sixteen_bits_are_scaled(format, picture):
    image = compressed(picture.astype(np.uint16) * 257, format)
    np.testing.assert_array_equal(bgr_from_message(image), picture)


@pytest.mark.parametrize(
    ("format", "exchanged"),
    [("rgba8; png compressed bgr8", False), ("bgra8; png compressed bgra8", False), ("", False)],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_transparency_is_left_out(format, exchanged, bits, picture):
    pixels = with_alpha(picture if bits == 8 else picture.astype(np.uint16) * 257)
    np.testing.assert_array_equal(bgr_from_message(compressed(pixels, format)), picture)


def test_transparency_of_exchanged_colors_is_left_out(picture):
    image = compressed(with_alpha(picture[..., ::-1]), "rgba8; tiff compressed ", ".tiff")
    np.testing.assert_array_equal(bgr_from_message(image), picture)


@pytest.mark.parametrize(
    "format", ["", "png", "mono8; png compressed ", "8UC1; png compressed mono8"]
)
def test_gray_of_eight_bits_is_spread_over_three_channels(format, picture):
    gray = picture[..., 0]
    decoded = bgr_from_message(compressed(gray, format))
    np.testing.assert_array_equal(decoded, np.dstack([gray] * 3))


@pytest.mark.parametrize("format", ["mono16; png compressed ", "mono16; png compressed mono16"])
def test_mono16_gives_the_picture_of_the_raw_image(format):
    gray = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH), np.uint16)
    decoded = bgr_from_message(compressed(gray, format))
    np.testing.assert_array_equal(decoded, bgr_from_message(raw(gray, "mono16")))


def test_mono16_in_a_jpeg_is_gray_already(picture):
    image = compressed(picture[..., 0], "mono16; jpeg compressed mono8", ".jpg")
    assert_near(bgr_from_message(image), np.dstack([picture[..., 0]] * 3))


@pytest.mark.parametrize("format", ["", "png", "unheard of"])
def test_gray_of_sixteen_bits_that_may_be_depth_is_rejected(format):
    depth = np.full((HEIGHT, WIDTH), 1500, np.uint16)
    with pytest.raises(ImageError, match=r"may be depth; begin the format with .*'mono16; png"):
        bgr_from_message(compressed(depth, format))


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1", "8UC1", "8UC3", "16SC1", "64FC1"])
@pytest.mark.parametrize("ending", ["; png compressed ", ""])
def test_what_is_rejected_raw_is_rejected_compressed_for_the_same_reason(encoding, ending):
    depth = np.full((HEIGHT, WIDTH), 1500, np.uint16)
    with pytest.raises(ImageError) as of_raw:
        bgr_from_message(raw(depth, encoding))
    with pytest.raises(ImageError) as error:
        bgr_from_message(compressed(depth, encoding + ending))
    assert str(error.value) == f"compressed format {encoding + ending!r}: {of_raw.value}"


def test_an_unknown_bayer_pattern_is_rejected():
    pattern = np.zeros((HEIGHT, WIDTH), np.uint8)
    with pytest.raises(ImageError, match="unknown encoding 'bayer_rggb12'"):
        bgr_from_message(compressed(pattern, "bayer_rggb12; png compressed "))


def test_floating_point_numbers_are_rejected():
    values = np.full((HEIGHT, WIDTH), 1.5, np.float32)
    with pytest.raises(ImageError, match="the file has no colors but 1 x float32 per pixel"):
        bgr_from_message(compressed(values, "tiff", ".tiff"))


@pytest.mark.parametrize(
    ("format", "reason"),
    [
        ("16UC1; compressedDepth", "is a depth image; use the color image's topic"),
        ("32FC1; compressedDepth png", "is a depth image; use the color image's topic"),
        ("16UC1; compressedDepth rvl", "is a depth image; use the color image's topic"),
        ("h264", "is a video stream, .* republish"),
        ("H265", "is a video stream, .* republish"),
        ("hevc_nvenc", "is a video stream, .* republish"),
        ("h264;yuv420p;bgr8;bgr8", "is a video stream, .* republish"),
        ("theora", "is a video stream, .* republish"),
        ("zstd", "is not supported; .* republish"),
    ],
)
def test_other_codecs_are_rejected_with_what_to_do(format, reason, picture):
    gray = np.full((HEIGHT, WIDTH), 1500, np.uint16)
    for payload in (picture, gray):
        with pytest.raises(ImageError, match=f"^compressed format {format!r} {reason}"):
            bgr_from_message(compressed(payload, format))


@pytest.mark.parametrize("format", ["", "jpeg", "mjpeg2000", "bgr8; jpeg compressed bgr8"])
def test_data_that_is_no_image_is_rejected_with_the_format(format):
    with pytest.raises(ImageError, match=f"^compressed format {format!r}: 20 bytes are not a"):
        bgr_from_message(CompressedImage(format=format, data=b"\0\0\0\1" * 5))


def test_a_damaged_jpeg_is_rejected(picture):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    image = compressed(noise, "jpeg", ".jpg")
    middle = len(image.data) // 2
    image.data = image.data[:middle] + image.data[middle + 2000 :]
    with pytest.raises(ImageError, match="compressed format 'jpeg': the image is damaged"):
        bgr_from_message(image)


def test_pixels_stay_in_the_grid_of_the_camera_whatever_exif_says(picture):
    file = io.BytesIO()
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # Turned by 90 degrees.
    PillowImage.fromarray(picture[..., ::-1]).save(file, "JPEG", quality=98, exif=exif)
    decoded = bgr_from_message(CompressedImage(format="jpeg", data=file.getvalue()))
    assert_near(decoded, picture, atol=12)
