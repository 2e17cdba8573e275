# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.datasets.targets import (
    match_targets,
    pseudo_labels,
    uncertain_objects,
    unreported,
)
from mrmllm_ros.detection.detector import Perception

BOX = (100, 100, 200, 300)
SHIFTED = (105, 105, 205, 305)
OTHER = (400, 100, 500, 200)


class TestLabelsOfTheCleanImage:
    @pytest.fixture
    def clean(self, make_detections):
        scores = (0.9, 0.4, 0.39, 0.15, 0.14)
        return Perception.ranked(make_detections(*(("car", s, BOX) for s in scores)), 0.3)

    def test_pseudo_labels_do_not_depend_on_the_threshold_of_the_detector(self, clean):
        truth, uncertain = pseudo_labels(clean), uncertain_objects(clean)
        assert truth.scores.tolist() == pytest.approx([0.9, 0.4])
        assert uncertain.scores.tolist() == pytest.approx([0.39, 0.15, 0.14])

    def test_an_empty_image_has_no_labels(self, make_detections):
        nothing = Perception.ranked(make_detections(), 0.3)
        assert len(pseudo_labels(nothing)) == len(uncertain_objects(nothing)) == 0


class TestUnreported:
    def test_without_true_objects_none_is_missed(self, make_detections):
        nothing, car = make_detections(), make_detections(("car", 0.9, BOX))
        assert unreported(nothing, nothing) == unreported(nothing, car) == frozenset()
        assert unreported(car, nothing) == {"car"}

    def test_objects_reported_elsewhere_or_with_another_label_are_missed(self, make_detections):
        true = make_detections(("car", 0.9, BOX), ("dog", 0.9, OTHER))
        assert unreported(true, make_detections(("car", 0.5, SHIFTED))) == {"dog"}
        assert unreported(true, make_detections(("dog", 0.5, SHIFTED))) == {"car", "dog"}


class TestMatching:
    def test_no_candidates_have_no_targets(self, make_detections):
        targets = match_targets(make_detections(), make_detections(), ())
        assert targets.scores.shape == (0,)
        assert targets.xyxy.shape == (0, 4)

    def test_true_objects_without_candidates_are_ignored(self, make_detections):
        targets = match_targets(make_detections(), make_detections(("car", 0.9, BOX)), ("red",))
        assert targets.labels == ()

    def test_without_true_objects_every_candidate_is_wrong(self, make_detections):
        targets = match_targets(make_detections(("car", 0.9, BOX)), make_detections(), ())
        assert targets.scores.tolist() == [0]
        assert targets.labels == ("",)
        assert np.isnan(targets.xyxy).all()
        assert targets.attributes == ({},)

    def test_a_candidate_gets_label_box_and_color_of_its_object(self, make_detections):
        found = make_detections(("dog", 0.1, OTHER), ("car", 0.2, SHIFTED))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("red",))
        assert targets.scores.tolist() == pytest.approx([0, 0.9])
        assert targets.labels == ("", "car")
        assert targets.xyxy[1].tolist() == list(BOX)
        assert targets.attributes == ({}, {"color": "red"})

    def test_unknown_colors_are_omitted(self, make_detections):
        found = make_detections(("car", 0.2, SHIFTED))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("",))
        assert targets.attributes == ({},)

    def test_of_two_boxes_the_one_with_the_higher_score_matches(self, make_detections):
        found = make_detections(("car", 0.2, BOX), ("car", 0.4, SHIFTED))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("",))
        assert targets.scores.tolist() == pytest.approx([0, 0.9])

    def test_the_right_label_comes_before_the_higher_score(self, make_detections):
        found = make_detections(("truck", 0.8, BOX), ("car", 0.1, SHIFTED))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("",))
        assert targets.scores.tolist() == pytest.approx([0, 0.9])

    def test_a_wrong_label_is_corrected(self, make_detections):
        found = make_detections(("truck", 0.4, SHIFTED))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("",))
        assert targets.scores.tolist() == pytest.approx([0.9])
        assert targets.labels == ("car",)

    def test_without_relabel_only_equal_labels_match(self, make_detections):
        found = make_detections(("truck", 0.4, SHIFTED), ("car", 0.3, BOX))
        truth = make_detections(("car", 0.9, BOX), ("dog", 0.8, SHIFTED))
        targets = match_targets(found, truth, ("", ""), relabel=False)
        assert targets.scores.tolist() == pytest.approx([0, 0.9])
        assert targets.labels == ("", "")

    def test_adjacent_objects_match_one_candidate_each(self, make_detections):
        truth = make_detections(("car", 0.9, BOX), ("car", 0.8, (120, 100, 220, 300)))
        found = make_detections(("car", 0.3, (121, 100, 221, 300)), ("car", 0.2, SHIFTED))
        targets = match_targets(found, truth, ("red", "blue"))
        assert [a["color"] for a in targets.attributes] == ["blue", "red"]

    def test_a_small_iou_does_not_match(self, make_detections):
        found = make_detections(("car", 0.9, (150, 100, 250, 300)))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("",))
        assert targets.scores.tolist() == [0]

    def test_candidates_of_the_clean_image_keep_their_scores(self, make_detections):
        truth = make_detections(("car", 0.8, BOX), ("car", 0.5, OTHER))
        uncertain = make_detections(("car", 0.3, SHIFTED), ("dog", 0.1, (0, 0, 20, 20)))
        found = make_detections(
            ("car", 0.8, BOX),
            ("car", 0.5, OTHER),
            ("car", 0.3, SHIFTED),
            ("dog", 0.1, (0, 0, 20, 20)),
        )
        targets = match_targets(found, truth, ("", ""), uncertain=uncertain)
        np.testing.assert_array_equal(targets.scores, found.scores)
        assert targets.labels == ("car", "car", "", "")

    def test_an_uncertain_object_of_another_label_has_no_effect(self, make_detections):
        found = make_detections(("car", 0.2, SHIFTED), ("dog", 0.1, (0, 0, 20, 20)))
        uncertain = make_detections(("truck", 0.3, BOX))
        targets = match_targets(found, make_detections(), (), uncertain=uncertain)
        assert targets.scores.tolist() == [0, 0]

    def test_a_candidate_gets_the_score_of_the_uncertain_object_with_the_highest_iou(
        self, make_detections
    ):
        found = make_detections(("car", 0.1, BOX))
        uncertain = make_detections(("car", 0.35, SHIFTED), ("car", 0.2, BOX))
        targets = match_targets(found, make_detections(), (), uncertain=uncertain)
        assert targets.scores.tolist() == pytest.approx([0.2])
        assert targets.labels == ("",)

    def test_a_true_object_takes_precedence_over_an_uncertain_one(self, make_detections):
        targets = match_targets(
            make_detections(("car", 0.2, BOX)),
            make_detections(("car", 0.9, BOX)),
            ("",),
            uncertain=make_detections(("car", 0.2, BOX)),
        )
        assert targets.scores.tolist() == pytest.approx([0.9])

    def test_a_candidate_on_an_ignored_object_is_unknown(self, make_detections):
        found = make_detections(("car", 0.2, SHIFTED), ("dog", 0.1, (0, 0, 20, 20)))
        ignored = make_detections(("truck", 0.2, BOX))
        targets = match_targets(found, make_detections(), (), ignored_objects=ignored)
        np.testing.assert_array_equal(targets.scores, [np.nan, 0])
        assert targets.labels == ("", "")

    def test_a_second_box_of_a_true_object_is_wrong_even_on_an_ignored_one(self, make_detections):
        targets = match_targets(
            make_detections(("car", 0.4, BOX), ("truck", 0.2, SHIFTED)),
            make_detections(("car", 0.9, BOX)),
            ("",),
            ignored_objects=make_detections(("truck", 0.2, SHIFTED)),
        )
        assert targets.scores.tolist() == pytest.approx([0.9, 0])

    def test_a_candidate_in_an_ignored_region_is_unknown(self, make_detections):
        found = make_detections(
            ("car", 0.4, OTHER), ("person", 0.3, (20, 20, 60, 80)), ("dog", 0.2, BOX)
        )
        crowd = make_detections(("person", 1.0, (0, 0, 640, 90)))
        targets = match_targets(found, make_detections(), (), ignored_regions=crowd)
        np.testing.assert_array_equal(targets.scores, [0, np.nan, 0])

    def test_ignored_candidates_are_unknown_unless_they_match_a_true_object(self, make_detections):
        found = make_detections(
            ("truck", 0.8, BOX), ("motorcycle", 0.7, SHIFTED), ("dog", 0.2, OTHER)
        )
        truth = make_detections(("car", 1.0, BOX))
        ignored = np.array([True, True, False])
        targets = match_targets(found, truth, ("",), ignored=ignored)
        np.testing.assert_array_equal(targets.scores, [1, np.nan, 0])
        assert targets.labels == ("car", "", "")

    def test_novelty_is_that_of_the_image(self, make_detections):
        found = make_detections(("car", 0.4, BOX), ("car", 0.3, OTHER))
        assert np.isnan(match_targets(found, make_detections(), ()).novelty).all()
        known = match_targets(found, make_detections(), (), novelty=0.5)
        assert known.novelty.tolist() == [0.5, 0.5]

    def test_boxes_without_an_area_match_nothing(self, make_detections):
        point = make_detections(("car", 0.9, (10, 10, 10, 10)))
        assert match_targets(point, point, ("",)).scores.tolist() == [0]
