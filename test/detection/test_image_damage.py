# SPDX-License-Identifier: Apache-2.0
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from mrmllm_ros.detection.image_damage import find_damage
from mrmllm_ros.detection.images import ImageError, decode_image

SIZE = (320, 240)
END = b"\xff\xd9"
SAMPLINGS = {"4:2:0": 0x221111, "4:2:2": 0x211111, "4:4:4": 0x111111}


def picture(channels=3):
    """A picture with detail everywhere, so that every part needs data."""
    width, height = SIZE
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    bgr = cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC)
    return bgr if channels == 3 else cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)


def jpeg(sampling="4:2:0", channels=3, restart=0, progressive=False, quality=90):
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling]]
    options += [cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    options += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    return cv2.imencode(".jpg", picture(channels), options)[1].tobytes()


def without_tables(data):
    """A JPEG without its Huffman tables, as many USB cameras send it."""
    kept, at = data[:2], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xC4:
            kept += data[at:end]
        at = end
    return kept + data[at:]


def coded_data(data):
    """Offset of the coded data of a JPEG."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


SCANS = {
    "4:2:0": {},
    "4:2:2": {"sampling": "4:2:2"},
    "4:4:4": {"sampling": "4:4:4"},
    "gray": {"channels": 1},
    # Two restart intervals a row, one a row, one in two rows, and some that end within a row.
    "restart 10": {"restart": 10},
    "restart 20": {"restart": 20},
    "restart 40": {"restart": 40},
    "restart 33": {"restart": 33},
    "gray restart 40": {"channels": 1, "restart": 40},
}
PROGRESSIVE = {"progressive": {"progressive": True}}


@pytest.mark.parametrize("scan", [*SCANS, *PROGRESSIVE])
@pytest.mark.parametrize("quality", [5, 50, 100])
def test_a_whole_jpeg_is_not_damaged(scan, quality):
    assert find_damage(jpeg(quality=quality, **(SCANS | PROGRESSIVE)[scan])) == ""


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (8, 8), (17, 33), (641, 3), (3, 641)])
@pytest.mark.parametrize("restart", [0, 1, 7])
def test_a_whole_jpeg_of_any_size_is_not_damaged(size, restart):
    image = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    options = [cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    assert find_damage(cv2.imencode(".jpg", image, options)[1].tobytes()) == ""


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_of_one_color_is_not_damaged(value):
    image = np.full((480, 640, 3), value, np.uint8)
    assert find_damage(cv2.imencode(".jpg", image)[1].tobytes()) == ""


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}], ids=str)
def test_a_jpeg_of_another_encoder_is_not_damaged(mode, options):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).convert(mode).save(file, "JPEG", exif=exif, comment="x", **options)
    assert find_damage(file.getvalue()) == ""


@pytest.mark.parametrize("restart", [0, 20])
@pytest.mark.parametrize(
    "change",
    {
        "nothing": lambda data: data,
        "no Huffman tables": without_tables,
        "zeros behind the end": lambda data: data + bytes(500),
        "another image behind the end": lambda data: data + data,
        "fill bytes before the end": lambda data: data[:-2] + b"\xff\xff\xff" + END,
        "extraneous bytes before the end": lambda data: data[:-2] + b"\x12\x34\x56" + END,
        "extraneous zeros before the end": lambda data: data[:-2] + bytes(7) + END,
        "application data": lambda data: data[:2] + b"\xff\xe3\x00\x06\xff\xd9\xff\xda" + data[2:],
    }.items(),
    ids=lambda change: change[0],
)
def test_what_usb_cameras_send_is_not_damaged(change, restart):
    data = jpeg("4:2:2", restart=restart)
    changed = change[1](data)
    assert find_damage(changed) == ""
    whole, decoded = decode_image(data), decode_image(changed)
    # The missing tables are those of the standard.
    np.testing.assert_array_equal(decoded, whole)


@pytest.mark.parametrize("scan", [*SCANS, *PROGRESSIVE])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_jpeg_that_is_cut_off_is_damaged(scan, share):
    data = jpeg(**(SCANS | PROGRESSIVE)[scan])
    start = coded_data(data)
    cut = data[: start + int((len(data) - start) * share)]
    with pytest.raises(ImageError):
        decode_image(cut)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_jpeg_that_is_cut_off_and_closed_is_damaged(scan, share):
    data = jpeg(**SCANS[scan])
    start = coded_data(data)
    assert find_damage(data[: start + int((len(data) - start) * share)] + END)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_a_jpeg_with_a_part_missing_is_damaged(scan, share):
    data = jpeg(**SCANS[scan])
    start = coded_data(data)
    at = start + int((len(data) - start) * share)
    assert find_damage(data[:at] + data[at + 1000 :])


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_a_jpeg_with_a_part_that_is_something_else_is_damaged(scan, share):
    data = jpeg(**SCANS[scan])
    start = coded_data(data)
    at = start + int((len(data) - start) * share)
    noise = np.random.default_rng(1).integers(0, 255, 1000, np.uint8).tobytes()
    assert find_damage(data[:at] + noise + data[at + len(noise) :])


def test_a_missing_restart_interval_is_damage():
    data = jpeg(restart=20)
    first, second = data.index(b"\xff\xd1"), data.index(b"\xff\xd2")
    assert "unexpected JPEG marker 0xd2" in find_damage(data[:first] + data[second:])


def test_the_description_says_where_a_marker_is():
    data = jpeg()
    at = coded_data(data) + 300
    assert f"marker 0x3a at byte {at}" in find_damage(data[:at] + b"\xff\x3a" + data[at + 2 :])


@pytest.fixture
def png():
    return cv2.imencode(".png", picture())[1].tobytes()


def test_a_whole_png_is_not_damaged(png):
    assert find_damage(png) == ""
    assert find_damage(png + b"behind the end") == ""


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_changed_bit_in_a_png_is_damage(share, png):
    at = int(len(png) * share) - 12
    changed = png[:at] + bytes([png[at] ^ 4]) + png[at + 1 :]
    assert find_damage(changed)
    with pytest.raises(ImageError, match=r"the image is damaged: .*PNG"):
        decode_image(changed)


@pytest.mark.parametrize("left", [40, 1000, -1])
def test_a_png_that_is_cut_off_is_damaged(left, png):
    cut = png[:left]
    assert find_damage(cut) == f"the PNG file is truncated after {len(cut)} bytes"


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0", b"BM" + bytes(60)])
def test_other_types_of_files_are_not_checked(data):
    assert find_damage(data) == ""
