# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import numpy as np

from mrmllm_ros.detection.captions import caption, correction, dashes, label_color
from mrmllm_ros.detection.detections import LOOKS_LIKE, Attribute
from mrmllm_ros.detection.detector import DetectorSettings

LABELS = DetectorSettings().initial_labels


def test_a_label_keeps_its_color_from_run_to_run():
    code = "from mrmllm_ros.detection.captions import label_color; print(label_color('person'))"
    # With another seed of Python's hash.
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == str(label_color("person"))


def test_the_labels_of_the_default_vocabulary_have_colors_of_their_own():
    assert len({label_color(label) for label in LABELS}) == len(LABELS)


def test_colors_stand_out_from_a_dark_background_and_from_white():
    for label in (*LABELS, "", "自行车", "traffic light"):
        color = np.array(label_color(label))
        assert ((color >= 0) & (color <= 1)).all()
        assert color.max() > 0.7
        assert color.max() - color.min() > 0.3


def test_the_letters_of_a_label_in_another_order_are_another_label():
    assert label_color("tac") != label_color("cat")


def test_an_object_is_named_by_number_label_and_score():
    assert caption(1, "person", 0.874) == "[1] person 0.87"


def test_track_and_novelty_are_named_where_there_are_any():
    assert caption(1, "person", 0.87, "12") == "[1] person 0.87 #12"
    assert caption(2, "box", 0.41, novelty=0.834) == "[2] box 0.41 novel 0.83"
    assert caption(2, "box", 0.41, "7", 0.0) == "[2] box 0.41 #7 novel 0.00"


def test_a_label_of_the_detector_needs_no_explanation():
    assert correction("apple", "apple", [Attribute(LOOKS_LIKE, "Granny Smith", 0.8)]) == ""
    assert caption(3, "apple", 0.75, correction="") == "[3] apple 0.75"


def test_a_corrected_label_is_explained_by_what_the_object_looks_like():
    color, reason = Attribute("color", "green", 0.9), Attribute(LOOKS_LIKE, "Granny Smith", 0.801)
    text = correction("apple", "vase", [color, reason])
    assert text == "not vase: looks like Granny Smith 0.80"
    assert caption(3, "apple", 0.75, correction=text) == (
        "[3] apple 0.75, not vase: looks like Granny Smith 0.80"
    )
    assert caption(3, "apple", 0.75, "9", 0.5, text).startswith(
        "[3] apple 0.75 #9 novel 0.50, not"
    )


def test_a_correction_without_a_name_says_what_the_detector_said():
    assert correction("apple", "vase", []) == "not vase"
    assert correction("apple", "vase", [Attribute("color", "green", 0.9)]) == "not vase"


def test_dashes_begin_and_end_at_the_corners_and_have_gaps_as_long_as_they_are():
    edge = np.array([[[0.0, 0, 0], [9, 18, 27]]])
    pieces = dashes(edge)
    assert pieces.shape == (5, 2, 3)
    np.testing.assert_allclose(pieces[:, :, 0], [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]])
    np.testing.assert_allclose(pieces, pieces[..., :1] * [1, 2, 3])


def test_each_edge_is_dashed():
    edges = np.array([[[0.0, 0], [9, 0]], [[9, 0], [9, 9]]])
    np.testing.assert_allclose(dashes(edges), np.vstack([dashes(edges[:1]), dashes(edges[1:])]))


def test_no_edges_have_no_dashes():
    assert dashes(np.zeros((0, 2, 3))).shape == (0, 2, 3)
