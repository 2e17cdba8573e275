# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.perception import annotation
from mrmllm_ros.perception.annotation import draw_caption


def draw_detections(image, detections):
    return annotation.draw_detections(image, detections, range(1, len(detections) + 1))


@pytest.fixture
def image():
    """(480, 640, 3) noise that nobody may write to."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    image.flags.writeable = False
    return image


def differs(one, other):
    """Where pixels differ, (H, W)."""
    return (one != other).any(axis=2)


def test_no_objects_leave_the_picture_as_it_is(image, make_detections):
    drawn = draw_detections(image, make_detections())
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image


def test_an_object_is_outlined_and_named_in_a_copy(image, make_detections):
    before = image.copy()
    drawn = draw_detections(image, make_detections(("person", 0.9, (100, 200, 300, 400))))
    np.testing.assert_array_equal(image, before)
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)

    changed = differs(drawn, image)
    assert changed[200:400, 100].mean() > 0.9, "left edge"
    assert changed[400, 100:300].mean() > 0.9, "bottom edge"
    assert not changed[230:380, 130:280].any(), "inside of the box"
    assert not changed[:150].any(), "far above the box"
    assert changed[184:198, 110:160].mean() > 0.9, "caption above the box"


def test_the_caption_depends_on_number_label_and_score(image, make_detections):
    box = (100, 200, 300, 400)
    person = draw_detections(image, make_detections(("person", 0.9, box)))
    for other in (
        make_detections(("persom", 0.9, box)),
        make_detections(("person", 0.8, box)),
        make_detections(("person", 0.9, (0, 0, 5, 5)), ("person", 0.9, box)),
    ):
        again = draw_detections(image, other)
        assert differs(person, again)[184:199, 100:250].any()


def test_a_label_has_one_colour_wherever_and_in_whatever_company_it_is(image, make_detections):
    alone = draw_detections(image, make_detections(("bus", 0.9, (100, 200, 300, 400))))
    second = draw_detections(
        image, make_detections(("cup", 0.9, (0, 0, 9, 9)), ("bus", 0.9, (100, 200, 300, 400)))
    )
    np.testing.assert_array_equal(alone[399, 150:250], second[399, 150:250])
    cup = draw_detections(image, make_detections(("cup", 0.9, (100, 200, 300, 400))))
    assert differs(alone, cup)[399, 150:250].all()


@pytest.mark.parametrize("box", [(-20, -20, 30, 30), (600, 450, 700, 500), (0, 0, 640, 480)])
def test_a_box_that_reaches_out_of_the_image_is_drawn(box, image, make_detections):
    drawn = draw_detections(image, make_detections(("bus", 0.9, box)))
    assert drawn.shape == image.shape
    assert differs(drawn, image).any()


def test_text_that_the_font_lacks_is_drawn_all_the_same(image, make_detections):
    drawn = draw_detections(image, make_detections(("自行车", 0.9, (100, 200, 300, 400))))
    assert differs(drawn, image).any()


def test_a_caption_is_written_below_the_image(image):
    before = image.copy()
    captioned = draw_caption(image, ["Q: What is there?", "A: A bus [1]."])
    np.testing.assert_array_equal(image, before)
    assert captioned.shape[0] > 480
    assert captioned.shape[1:] == (640, 3)
    np.testing.assert_array_equal(captioned[:480], image)
    bar = captioned[480:]
    assert 0.01 < (bar > 128).mean() < 0.5, "light text on a dark bar"


def test_more_lines_and_longer_lines_make_a_higher_bar(image):
    one, two, long = (
        draw_caption(image, lines).shape[0] for lines in (["A"], ["A", "B"], ["word " * 100])
    )
    assert one < two < long


def test_all_of_a_long_line_is_shown(image):
    # What is wrapped before the last word is the same, so only the last word's row differs.
    short = draw_caption(image, ["word " * 60 + "end"])
    other = draw_caption(image, ["word " * 60 + "END"])
    assert short.shape == other.shape
    assert differs(short, other)[480:].any()


def test_without_lines_the_image_stays_above_an_empty_bar(image):
    captioned = draw_caption(image, [])
    np.testing.assert_array_equal(captioned[:480], image)
    assert len(np.unique(captioned[480:])) == 1


@pytest.mark.parametrize("box", [(100, 0, 300, 200), (600, 300, 640, 470)])
def test_the_caption_of_an_object_at_the_border_is_inside_of_the_image(
    box, image, make_detections
):
    named = draw_detections(image, make_detections(("person", 0.9, box)))
    other = draw_detections(image, make_detections(("persom", 0.9, box)))
    assert differs(named, other).any()


def test_objects_carry_the_numbers_they_are_given(image, make_detections):
    detections = make_detections(("person", 0.9, (100, 200, 300, 400)))
    seventh = annotation.draw_detections(image, detections, [7])
    assert differs(draw_detections(image, detections), seventh)[184:199, 100:250].any()


def test_objects_and_numbers_must_be_as_many(image, make_detections):
    detections = make_detections(("person", 0.9, (100, 200, 300, 400)))
    with pytest.raises(ValueError, match="longer"):
        annotation.draw_detections(image, detections, [])
