# SPDX-License-Identifier: Apache-2.0
import array
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.perception.images import ImageError, decode_image, read_image, write_image


@pytest.fixture
def picture():
    """(20, 30, 3) whose left half is blue and whose right half is red."""
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :15, 0] = 250
    picture[:, 15:, 2] = 250
    return picture


def encode(suffix, image):
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tiff", ".webp"])
def test_a_file_without_loss_gives_its_very_pixels_in_bgr_order(suffix, picture, tmp_path):
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    path = tmp_path / f"picture{suffix}"
    cv2.imwrite(str(path), picture, options)
    np.testing.assert_array_equal(read_image(path), picture)


def test_a_jpeg_gives_its_colours_in_bgr_order(picture):
    decoded = decode_image(encode(".jpg", picture))
    assert decoded.shape == picture.shape
    left, right = decoded[:, :8].mean((0, 1)), decoded[:, 22:].mean((0, 1))
    np.testing.assert_allclose(left, [250, 0, 0], atol=5)
    np.testing.assert_allclose(right, [0, 0, 250], atol=5)


def test_a_grey_image_is_spread_over_three_channels():
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    np.testing.assert_array_equal(decode_image(encode(".png", grey)), np.dstack([grey] * 3))


def test_transparency_is_left_out(picture):
    alpha = np.full(picture.shape[:2], 7, np.uint8)
    image = decode_image(encode(".png", np.dstack([picture, alpha])))
    np.testing.assert_array_equal(image, picture)


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview, lambda b: array.array("B", b)])
def test_any_buffer_of_bytes_will_do(buffer, picture):
    np.testing.assert_array_equal(decode_image(buffer(encode(".png", picture))), picture)


@pytest.mark.parametrize(
    "data", [b"", b"garbage" * 100, b"\x89PNG\r\n\x1a\n"], ids=["empty", "garbage", "head only"]
)
def test_bytes_that_are_no_image_are_an_error(data):
    with pytest.raises(ImageError, match=f"^{len(data)} bytes are not a JPEG, PNG or other"):
        decode_image(data)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"cannot read the image .*/no\.png: No such file"):
        read_image(tmp_path / "no.png")


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(ImageError, match=r"cannot read the image .*/text\.png: 13 bytes are not"):
        read_image(tmp_path / "text.png")


def test_a_user_can_mend_it():
    assert issubclass(ImageError, MrmllmError)


@pytest.mark.parametrize("name", ["a.png", os.fsdecode(b"caf\xe9.PNG")])
def test_an_image_is_written_under_any_name(name, picture, tmp_path):
    write_image(tmp_path / name, picture)
    np.testing.assert_array_equal(read_image(tmp_path / name), picture)


@pytest.mark.parametrize(
    ("path", "width", "reason"),
    [
        ("a.xyz", 30, r"a\.xyz: .*extension; let the name end in \.png"),
        ("a", 30, r"let the name end in \.png"),
        ("a.jpg", 70_000, r"a\.jpg: 70000 x 1 pixels do not fit into the format \.jpg"),
        ("none/a.png", 30, r"a\.png: No such file or directory"),
        (".png/..", 30, "cannot save"),
    ],
)
def test_an_image_that_cannot_be_written_is_named_with_the_reason(path, width, reason, tmp_path):
    with pytest.raises(ImageError, match=reason):
        write_image(tmp_path / path, np.zeros((1, width, 3), np.uint8))


def test_a_full_disk_is_the_reason_that_is_given(picture, tmp_path):
    (tmp_path / "full.png").symlink_to("/dev/full")
    with pytest.raises(ImageError, match=r"full\.png: No space left on device"):
        write_image(tmp_path / "full.png", picture)


def test_an_error_can_be_encoded_whatever_the_file_is_called():
    with pytest.raises(ImageError) as raised:
        read_image(Path(os.fsdecode(b"caf\xe9.png")))
    assert str(raised.value).encode("utf-8").startswith(b"cannot read the image caf\\udce9.png")
