# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from mrmllm_ros.detection.colors import (
    COLORS,
    color_attributes,
    dominant_color,
    measure_colors,
)

# Two everyday shades of each, R, G, B.
SHADES = {
    "black": [(10, 10, 12), (38, 36, 40)],
    "white": [(250, 250, 250), (205, 208, 200)],
    "gray": [(128, 128, 128), (95, 100, 98)],
    "red": [(220, 20, 30), (150, 15, 20)],
    "orange": [(255, 140, 0), (230, 110, 30)],
    "yellow": [(250, 220, 20), (230, 200, 60)],
    "green": [(30, 160, 50), (20, 90, 40)],
    "blue": [(20, 60, 200), (90, 150, 220)],
    "purple": [(120, 30, 160), (140, 80, 190)],
    "pink": [(255, 150, 180), (240, 80, 160)],
    "brown": [(120, 70, 30), (90, 55, 40)],
}
BOX = (100, 50, 200, 250)


@pytest.fixture
def image():
    """A scene in a color that no test expects."""
    return np.full((480, 640, 3), (200, 60, 20), np.uint8)


def paint(image, box, rgb):
    left, top, right, bottom = box
    image[top:bottom, left:right] = rgb[::-1]


def test_every_color_has_shades_here():
    assert tuple(SHADES) == COLORS


@pytest.mark.parametrize(
    ("name", "rgb"), [(name, rgb) for name, shades in SHADES.items() for rgb in shades]
)
def test_a_painted_box_has_its_color(image, make_detections, name, rgb):
    paint(image, BOX, rgb)
    assert measure_colors(image, make_detections(("car", 0.9, BOX))) == (name,)


def test_noise_and_what_is_around_do_not_change_it(image, make_detections):
    paint(image, (115, 75, 185, 225), (220, 20, 30))
    noise = np.random.default_rng(0).normal(0, 12, image.shape)
    noisy = (image + noise).clip(0, 255).astype(np.uint8)
    assert measure_colors(noisy, make_detections(("car", 0.9, BOX))) == ("red",)


def test_the_score_of_the_attribute_is_the_share_of_the_color(image, make_detections):
    left, top, right, bottom = BOX
    paint(image, BOX, (220, 20, 30))
    paint(image, (left, top, right, (top + bottom) // 2), (10, 10, 10))
    paint(image, (left, top, right, top + (bottom - top) // 4), (220, 20, 30))
    [[color], nothing] = color_attributes(
        image, make_detections(("car", 0.9, BOX), ("car", 0.9, (-90, -90, -10, -10)))
    )
    assert (color.name, color.value) == ("color", "red")
    assert color.score == pytest.approx(7 / 12, abs=0.05)
    assert nothing == ()
    assert color_attributes(image, make_detections()) == ()


def test_a_box_of_many_colors_has_none(image, make_detections):
    for i, name in enumerate(("red", "green", "blue", "yellow", "black")):
        paint(image, (100 + 20 * i, 50, 120 + 20 * i, 250), SHADES[name][0])
    assert measure_colors(image, make_detections(("car", 0.9, BOX))) == ("",)


def test_of_a_person_the_upper_body_counts(image, make_detections):
    paint(image, (100, 50, 200, 160), (220, 20, 30))
    paint(image, (100, 160, 200, 250), (20, 90, 40))
    upper, whole = (make_detections((label, 0.9, BOX)) for label in ("person", "bottle"))
    assert measure_colors(image, upper) == ("red",)
    paint(image, (100, 130, 200, 250), (20, 90, 40))
    assert measure_colors(image, whole) == ("green",)


def test_each_object_has_its_own_color(image, make_detections):
    names = list(SHADES)
    boxes = [(20 + 50 * i, 10, 60 + 50 * i, 60) for i in range(len(names))]
    for name, box in zip(names, boxes, strict=True):
        paint(image, box, SHADES[name][0])
    detections = make_detections(*(("car", 0.9, box) for box in boxes))
    assert measure_colors(image, detections) == tuple(names)


def test_no_objects_have_no_colors(image, make_detections):
    assert measure_colors(image, make_detections()) == ()


@pytest.mark.parametrize("box", [(700, 50, 800, 250), (-90, -80, -10, -5), (630, 470, 900, 900)])
def test_a_box_outside_of_the_image_has_none(image, make_detections, box):
    assert measure_colors(image, make_detections(("car", 0.9, box))) == ("",)


def test_a_box_partly_outside_the_image_has_the_color_inside(image, make_detections):
    paint(image, (540, 0, 640, 200), (220, 20, 30))
    assert measure_colors(image, make_detections(("car", 0.9, (540, -50, 700, 200)))) == ("red",)


def test_a_tiny_box_has_none(image, make_detections):
    paint(image, BOX, (220, 20, 30))
    assert measure_colors(image, make_detections(("car", 0.9, (120, 60, 125, 100)))) == ("",)


def test_a_gray_picture_has_no_hue(bus_image, make_detections):
    gray = cv2.cvtColor(cv2.cvtColor(bus_image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    bus = make_detections(("bus", 0.9, (20, 230, 800, 750)), resolution_wh=(810, 1080))
    assert measure_colors(gray, bus)[0] in ("", "gray", "black", "white")


class TestDominantColor:
    @pytest.mark.parametrize(("name", "rgb"), [(name, rgbs[0]) for name, rgbs in SHADES.items()])
    def test_pixels_of_one_color_have_it(self, name, rgb):
        assert dominant_color(np.full((5, 3), rgb[::-1], np.uint8)) == name

    def test_the_most_frequent_color_is_named(self):
        pixels = np.array([(0, 0, 220)] * 3 + [(220, 60, 20)] * 2, np.uint8)
        assert dominant_color(pixels) == "red"

    def test_no_pixels_and_many_colors_have_no_name(self):
        assert dominant_color(np.zeros((0, 3), np.uint8)) == ""
        pixels = np.array([(0, 0, 220), (220, 60, 20), (20, 220, 250)], np.uint8)
        assert dominant_color(pixels) == ""
