# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from mrmllm_ros.detection import annotation
from mrmllm_ros.detection.annotation import draw_caption
from mrmllm_ros.detection.captions import caption, label_color
from mrmllm_ros.detection.masks import Mask

BOX = (100, 200, 300, 400)


def draw_detections(image, detections, **options):
    numbers = range(1, len(detections) + 1)
    captions = map(caption, numbers, detections.labels, detections.scores)
    return annotation.draw_detections(image, detections, list(captions), **options)


@pytest.fixture
def image():
    """Read-only (480, 640, 3) noise."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    image.flags.writeable = False
    return image


def differs(one, other):
    """(H, W) mask of different pixels."""
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
    assert changed[186:198, 110:160].mean() > 0.9, "caption above the box"


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


def test_a_label_has_the_same_color_in_every_image(image, make_detections):
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


def test_characters_missing_in_the_font_are_drawn(image, make_detections):
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
    # Only the row of the last word differs.
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


def test_objects_carry_the_captions_they_are_given(image, make_detections):
    detections = make_detections(("person", 0.9, BOX))
    seventh = annotation.draw_detections(image, detections, ["[7] person 0.90"])
    assert differs(draw_detections(image, detections), seventh)[184:199, 100:250].any()


@pytest.mark.parametrize(
    ("captions", "novel"), [([], None), (["[1]", "[2]"], None), (["[1]"], []), (["[1]"], [1, 0])]
)
def test_captions_and_flags_must_be_as_many_as_objects(captions, novel, image, make_detections):
    with pytest.raises(ValueError, match="but 1 objects"):
        annotation.draw_detections(
            image, make_detections(("person", 0.9, BOX)), captions, novel=novel
        )


def test_a_box_has_the_color_of_its_label_with_a_dark_edge(image, make_detections):
    drawn = draw_detections(image, make_detections(("bus", 0.9, BOX)))
    bgr = np.array(label_color("bus"))[::-1] * 255
    np.testing.assert_allclose(drawn[300, 100], bgr, atol=1)
    assert drawn[300, 98].max() < 60


def test_a_novel_object_is_outlined_with_dashes(image, make_detections):
    familiar, novel = (
        draw_detections(image, make_detections(("bus", 0.9, BOX)), novel=[answer])
        for answer in (False, True)
    )
    edge = novel[400, 100:301]
    colored = (np.abs(edge - familiar[400, 200].astype(int)) < 2).all(axis=1)
    assert 0.4 < colored.mean() < 0.8
    assert (np.diff(colored.astype(int)) == 1).sum() == 4, "gaps"
    assert colored[[0, -1]].all(), "corners"
    assert (edge[~colored] < 60).all(), "dark between the dashes"


def test_a_mask_tints_the_image_in_the_color_of_its_label(image, make_detections):
    whole = np.zeros((480, 640), bool)
    whole[250:350, 150:250] = True
    plain = make_detections(("bus", 0.9, BOX))
    before = draw_detections(image, plain)
    tinted = draw_detections(image, replace(plain, masks=(Mask.crop(whole),)))
    np.testing.assert_array_equal(differs(before, tinted), whole & differs(before, tinted))
    assert differs(before, tinted)[whole].mean() > 0.95
    expected = 0.65 * image[whole] + 0.35 * 255 * np.array(label_color("bus"))[::-1]
    np.testing.assert_allclose(tinted[whole], expected, atol=2)


def test_objects_with_and_without_masks_are_drawn(image, make_detections):
    objects = make_detections(("bus", 0.9, BOX), ("cup", 0.9, (400, 100, 500, 200)))
    inside = np.ones((200, 200), bool)
    drawn = draw_detections(
        image, replace(objects, masks=(Mask(inside, left=100, top=200), Mask.empty()))
    )
    assert differs(image, drawn)[220:380, 120:280].mean() > 0.95
    assert not differs(image, drawn)[120:190, 410:490].any()


def test_captions_of_objects_side_by_side_do_not_cover_each_other(image, make_detections):
    boxes = [(100 + 20 * i, 200, 300 + 20 * i, 400) for i in range(4)]
    drawn = draw_detections(image, make_detections(*(("cup", 0.9, box) for box in boxes)))
    for i, box in enumerate(boxes):
        others = [("cup", 0.9, other) for other in boxes if other is not box]
        alone = draw_detections(image, make_detections(*others))
        assert differs(drawn, alone).sum() > 200, i


def test_where_there_is_no_room_only_the_number_is_written(make_detections):
    gray = np.full((60, 120, 3), 90, np.uint8)
    box = ("person", 0.9, (0, 0, 119, 59))
    one = make_detections(box, resolution_wh=(120, 60))
    many = make_detections(*[box] * 8, resolution_wh=(120, 60))
    labeled = [
        differs(
            annotation.draw_detections(gray, objects, ["[1] person 0.90"] * len(objects)),
            annotation.draw_detections(gray, objects, [" "] * len(objects)),
        ).sum()
        for objects in (one, many)
    ]
    assert labeled[0] < labeled[1] < 6 * labeled[0]


@pytest.mark.parametrize("side", [1, 5, 30])
def test_captions_longer_than_the_image_are_drawn_as_far_as_they_fit(side, make_detections):
    image = np.zeros((side, side, 3), np.uint8)
    detections = make_detections(("person", 0.9, (0, 0, side, side)), resolution_wh=(side, side))
    assert draw_detections(image, detections).shape == image.shape


def test_a_box_without_area_is_drawn(image, make_detections):
    drawn = draw_detections(image, make_detections(("dot", 0.9, (50, 60, 50, 60))), novel=[True])
    assert differs(image, drawn).any()
