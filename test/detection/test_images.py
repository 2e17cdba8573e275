# SPDX-License-Identifier: Apache-2.0
import array
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from mrmllm_ros.detection.images import (
    ImageError,
    decode_image,
    encode_image,
    read_image,
    save_image,
)
from mrmllm_ros.errors import MrmllmError


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
def test_a_lossless_file_has_exact_pixels_in_bgr_order(suffix, picture, tmp_path):
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    path = tmp_path / f"picture{suffix}"
    cv2.imwrite(str(path), picture, options)
    np.testing.assert_array_equal(read_image(path), picture)


def test_a_jpeg_gives_its_colors_in_bgr_order(picture):
    decoded = decode_image(encode(".jpg", picture))
    assert decoded.shape == picture.shape
    left, right = decoded[:, :8].mean((0, 1)), decoded[:, 22:].mean((0, 1))
    np.testing.assert_allclose(left, [250, 0, 0], atol=5)
    np.testing.assert_allclose(right, [0, 0, 250], atol=5)


def test_a_gray_image_gets_three_channels():
    gray = np.arange(200, dtype=np.uint8).reshape(10, 20)
    np.testing.assert_array_equal(decode_image(encode(".png", gray)), np.dstack([gray] * 3))


def test_alpha_is_dropped(picture):
    alpha = np.full(picture.shape[:2], 7, np.uint8)
    image = decode_image(encode(".png", np.dstack([picture, alpha])))
    np.testing.assert_array_equal(image, picture)


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview, lambda b: array.array("B", b)])
def test_any_buffer_of_bytes_is_decoded(buffer, picture):
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


def test_a_user_can_fix_it():
    assert issubclass(ImageError, MrmllmError)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".PNG"])
def test_a_saved_image_is_the_image(suffix, picture, tmp_path):
    path = tmp_path / f"saved{suffix}"
    save_image(path, picture)
    np.testing.assert_array_equal(read_image(path), picture)
    assert os.listdir(tmp_path) == [path.name]


def test_a_saved_image_has_the_permissions_of_any_new_file(picture, tmp_path):
    (tmp_path / "other").touch()
    save_image(tmp_path / "saved.png", picture)
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_saving_through_a_link_keeps_the_link(picture, tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "file.png")
    save_image(tmp_path / "link.png", picture)
    assert (tmp_path / "link.png").is_symlink()
    np.testing.assert_array_equal(read_image(tmp_path / "file.png"), picture)


@pytest.fixture
def full_disk(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs the device /dev/full")
    (tmp_path / "full.png").symlink_to("/dev/full")
    return tmp_path / "full.png"


def test_a_full_disk_is_the_reason(picture, full_disk):
    with pytest.raises(ImageError, match=rf"^cannot save {full_disk}: No space left on device$"):
        save_image(full_disk, picture)
    assert full_disk.is_char_device()


def test_a_full_file_system_leaves_the_old_file(picture, tmp_path):
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=False
        ).returncode
    ):
        pytest.skip("needs the right to mount a file system")
    try:
        path = tmp_path / "picture.png"
        save_image(path, picture)
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
        with pytest.raises(ImageError, match=rf"^cannot save {path}: No space left on device$"):
            save_image(path, noise)
        np.testing.assert_array_equal(read_image(path), picture)
        assert os.listdir(tmp_path) == [path.name]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/picture.png", "No such file or directory"),
        ("file/picture.png", "Not a directory"),
        ("folder.png", "Is a directory"),
        (f"{'x' * 300}.png", "File name too long"),
        ("picture", r"OpenCV cannot write images of type ''; use \.png or \.jpg"),
        ("picture.xyz", r"OpenCV cannot write images of type '\.xyz'; use \.png or \.jpg"),
    ],
)
def test_the_true_reason_is_given_where_nothing_can_be_saved(name, reason, picture, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=rf"^cannot save {tmp_path / name}: {reason}$"):
        save_image(tmp_path / name, picture)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_the_reason(picture, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ImageError, match="Permission denied"):
        save_image(tmp_path / "picture.png", picture)


@pytest.mark.parametrize(
    ("suffix", "limit"), [(".jpg", 65500), (".JPEG", 65500), (".webp", 16383)]
)
@pytest.mark.parametrize("side", [0, 1])
def test_an_image_that_is_too_large_for_its_type_is_rejected_with_the_limit(suffix, limit, side):
    shape = [2, 2, 3]
    shape[side] = limit
    assert encode_image(np.zeros(shape, np.uint8), suffix)
    shape[side] += 1
    size = f"{shape[1]} x {shape[0]} pixels"
    with pytest.raises(ImageError, match=f"^the image has {size}, but .* at most {limit} per"):
        encode_image(np.zeros(shape, np.uint8), suffix)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0, 3)])
def test_an_image_without_pixels_is_not_encoded(shape):
    with pytest.raises(ImageError, match=f"^the image is empty: {shape[1]} x {shape[0]} pixels$"):
        encode_image(np.zeros(shape, np.uint8), ".png")


def test_a_photograph_is_rotated_according_to_its_exif_tag(picture, tmp_path):
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # Turned by 90 degrees.
    image = PillowImage.fromarray(np.ascontiguousarray(picture[..., ::-1]))
    image.save(tmp_path / "photograph.jpg", exif=exif)
    assert read_image(tmp_path / "photograph.jpg").shape == (30, 20, 3)


def test_a_damaged_file_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    data = encode(".jpg", noise)
    middle = len(data) // 2
    (tmp_path / "damaged.jpg").write_bytes(data[:middle] + data[middle + 2000 :])
    with pytest.raises(ImageError, match=r"cannot read the image .*/damaged\.jpg: .* is damaged"):
        read_image(tmp_path / "damaged.jpg")


def test_an_image_is_saved_under_a_name_that_is_not_utf8(picture, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.PNG")
    save_image(path, picture)
    np.testing.assert_array_equal(read_image(path), picture)


def test_an_error_can_be_encoded_whatever_the_file_is_called():
    with pytest.raises(ImageError) as raised:
        read_image(Path(os.fsdecode(b"caf\xe9.png")))
    assert str(raised.value).encode("utf-8").startswith(b"cannot read the image caf\\udce9.png")
