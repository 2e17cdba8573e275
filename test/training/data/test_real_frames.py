# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from mrmllm_ros import weights
from mrmllm_ros.perception.detector import Perception
from mrmllm_ros.perception.images import ImageError
from mrmllm_ros.training.data.real_frames import (
    SURE_FROM,
    FrameSource,
    Shot,
    View,
    frame_examples,
    match_targets,
    pseudo_labels,
    unsure_labels,
)

BOX = (100, 100, 200, 300)
SHIFTED = (105, 105, 205, 305)
OTHER = (400, 100, 500, 200)


def rng(seed=0):
    return np.random.default_rng(seed)


def view(image, generator):
    return View.draw(image.shape, generator).image(image)


class TestView:
    @pytest.mark.parametrize("shape", [(576, 768, 3), (144, 176, 3), (1080, 1920, 3), (3, 2, 3)])
    def test_the_size_is_within_its_limits(self, shape):
        image = rng().integers(0, 256, shape, np.uint8)
        for seed in range(20):
            height, width = view(image, rng(seed)).shape[:2]
            scale = min(1, 640 / shape[1])
            assert 0.5 * scale * shape[1] - 1 <= width <= min(640, shape[1])
            assert 1 <= height <= shape[0]

    def test_proportions_stay_as_they_are(self):
        image = np.zeros((800, 1600, 3), np.uint8)
        cv2.circle(image, (800, 400), 150, (255, 255, 255), cv2.FILLED)
        for seed in range(20):
            white = view(image, rng(seed))[..., 0] > 127
            width, height = white.any(axis=0).sum(), white.any(axis=1).sum()
            inside = not (white[[0, -1]].any() or white[:, [0, -1]].any())
            assert not inside or width == pytest.approx(height, abs=2)

    @pytest.mark.parametrize("shape", [(400, 600, 3), (800, 1600, 3)])
    def test_boxes_go_where_their_object_goes(self, shape):
        image = np.zeros(shape, np.uint8)
        height, width = shape[:2]
        left, top, right, bottom = width // 3, height // 3, width // 2, height // 2
        image[top:bottom, left:right] = 255
        for seed in range(20):
            chosen = View.draw(shape, rng(seed))
            white = chosen.image(image)[..., 0] > 127
            assert chosen.resolution_wh == white.shape[::-1]
            [box] = chosen.boxes(np.array([[left, top, right, bottom]], np.float32))
            box = box.clip(0, np.tile(white.shape[::-1], 2))
            rows, columns = (np.flatnonzero(white.any(axis=axis)) for axis in (1, 0))
            found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            assert box == pytest.approx(found, abs=1)

    def test_about_half_are_mirrored(self):
        image = np.zeros((40, 100, 3), np.uint8)
        image[:] = np.arange(100)[None, :, None]
        mirrored = [
            (np.diff(view(image, rng(s))[0, :, 0].astype(int)) < 0).all() for s in range(60)
        ]
        assert 15 < sum(mirrored) < 45

    def test_what_it_gives_is_no_part_of_the_frame(self, bus_image):
        part = view(cv2.resize(bus_image, (300, 400)), rng())
        assert part.dtype == np.uint8
        assert part.flags.c_contiguous


class TestShot:
    def test_it_is_damaged_as_often_as_asked(self):
        clean = rng().integers(0, 256, (8, 8, 3), np.uint8)
        shots = [Shot.of(clean, 0.75, rng(seed)) for seed in range(100)]
        damaged = [shot for shot in shots if shot.strength]
        assert 60 < len(damaged) < 90
        assert {shot.novelty for shot in damaged} == {1 / 3, 2 / 3, 1.0}
        assert all((shot.damaged != clean).any() for shot in damaged)

    def test_without_damage_it_is_familiar(self):
        shot = Shot.of(np.zeros((4, 4, 3), np.uint8), 0.0, rng())
        assert shot.damaged is shot.clean
        assert shot.novelty == 0


class TestLabelsOfTheCleanImage:
    @pytest.fixture
    def clean(self, make_detections):
        scores = (0.9, 0.4, 0.39, 0.15, 0.14)
        return Perception.ranked(make_detections(*(("car", s, BOX) for s in scores)), 0.3)

    def test_sure_objects_are_true_whatever_the_detector_reports(self, clean):
        truth, unsure = pseudo_labels(clean), unsure_labels(clean)
        assert truth.scores.tolist() == pytest.approx([0.9, 0.4])
        assert unsure.scores.tolist() == pytest.approx([0.39, 0.15, 0.14])

    def test_of_nothing_there_is_nothing(self, make_detections):
        nothing = Perception.ranked(make_detections(), 0.3)
        assert len(pseudo_labels(nothing)) == len(unsure_labels(nothing)) == 0


class TestMatching:
    def test_nothing_matches_nothing(self, make_detections):
        targets = match_targets(make_detections(), make_detections(), ())
        assert targets.scores.shape == (0,)
        assert targets.xyxy.shape == (0, 4)

    def test_nothing_found_leaves_nothing_to_say(self, make_detections):
        targets = match_targets(make_detections(), make_detections(("car", 0.9, BOX)), ("red",))
        assert targets.labels == ()

    def test_where_nothing_is_every_candidate_is_wrong(self, make_detections):
        targets = match_targets(make_detections(("car", 0.9, BOX)), make_detections(), ())
        assert targets.scores.tolist() == [0]
        assert targets.labels == ("",)
        assert np.isnan(targets.xyxy).all()
        assert targets.attributes == ({},)

    def test_a_candidate_gets_label_box_and_colour_of_its_object(self, make_detections):
        found = make_detections(("dog", 0.1, OTHER), ("car", 0.2, SHIFTED))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("red",))
        assert targets.scores.tolist() == pytest.approx([0, 0.9])
        assert targets.labels == ("", "car")
        assert targets.xyxy[1].tolist() == list(BOX)
        assert targets.attributes == ({}, {"colour": "red"})

    def test_a_colour_that_is_unknown_is_left_out(self, make_detections):
        found = make_detections(("car", 0.2, SHIFTED))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("",))
        assert targets.attributes == ({},)

    def test_of_two_boxes_of_an_object_the_surer_is_right(self, make_detections):
        found = make_detections(("car", 0.2, BOX), ("car", 0.4, SHIFTED))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("",))
        assert targets.scores.tolist() == pytest.approx([0, 0.9])

    def test_the_right_label_comes_before_the_higher_score(self, make_detections):
        found = make_detections(("truck", 0.8, BOX), ("car", 0.1, SHIFTED))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("",))
        assert targets.scores.tolist() == pytest.approx([0, 0.9])

    def test_a_wrong_label_is_put_right(self, make_detections):
        found = make_detections(("truck", 0.4, SHIFTED))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("",))
        assert targets.scores.tolist() == pytest.approx([0.9])
        assert targets.labels == ("car",)

    def test_a_label_that_stays_open_is_there_as_surely_as_what_it_says(self, make_detections):
        found = make_detections(("truck", 0.4, SHIFTED), ("car", 0.3, BOX))
        truth = make_detections(("car", 0.9, BOX), ("dog", 0.8, SHIFTED))
        targets = match_targets(found, truth, ("", ""), relabel=False)
        assert targets.scores.tolist() == pytest.approx([0, 0.9])
        assert targets.labels == ("", "")

    def test_two_objects_close_together_get_a_candidate_each(self, make_detections):
        truth = make_detections(("car", 0.9, BOX), ("car", 0.8, (120, 100, 220, 300)))
        found = make_detections(("car", 0.3, (121, 100, 221, 300)), ("car", 0.2, SHIFTED))
        targets = match_targets(found, truth, ("red", "blue"))
        assert [a["colour"] for a in targets.attributes] == ["blue", "red"]

    def test_too_little_overlap_is_another_object(self, make_detections):
        found = make_detections(("car", 0.9, (150, 100, 250, 300)))
        targets = match_targets(found, make_detections(("car", 0.9, BOX)), ("",))
        assert targets.scores.tolist() == [0]

    def test_what_is_as_sure_as_before_stays_so(self, make_detections):
        truth = make_detections(("car", 0.8, BOX), ("car", 0.5, OTHER))
        unsure = make_detections(("car", 0.3, SHIFTED), ("dog", 0.1, (0, 0, 20, 20)))
        found = make_detections(
            ("car", 0.8, BOX),
            ("car", 0.5, OTHER),
            ("car", 0.3, SHIFTED),
            ("dog", 0.1, (0, 0, 20, 20)),
        )
        targets = match_targets(found, truth, ("", ""), unsure=unsure)
        np.testing.assert_array_equal(targets.scores, found.scores)
        assert targets.labels == ("car", "car", "", "")

    def test_an_unsure_object_of_another_label_says_nothing(self, make_detections):
        found = make_detections(("car", 0.2, SHIFTED), ("dog", 0.1, (0, 0, 20, 20)))
        unsure = make_detections(("truck", 0.3, BOX))
        targets = match_targets(found, make_detections(), (), unsure=unsure)
        assert targets.scores.tolist() == [0, 0]

    def test_a_candidate_is_as_likely_as_the_unsure_object_it_overlaps_most(self, make_detections):
        found = make_detections(("car", 0.1, BOX))
        unsure = make_detections(("car", 0.35, SHIFTED), ("car", 0.2, BOX))
        targets = match_targets(found, make_detections(), (), unsure=unsure)
        assert targets.scores.tolist() == pytest.approx([0.2])
        assert targets.labels == ("",)

    def test_a_true_object_outweighs_an_unsure_one(self, make_detections):
        targets = match_targets(
            make_detections(("car", 0.2, BOX)),
            make_detections(("car", 0.9, BOX)),
            ("",),
            unsure=make_detections(("car", 0.2, BOX)),
        )
        assert targets.scores.tolist() == pytest.approx([0.9])

    def test_of_a_candidate_on_a_doubtful_object_nothing_is_known(self, make_detections):
        found = make_detections(("car", 0.2, SHIFTED), ("dog", 0.1, (0, 0, 20, 20)))
        doubtful = make_detections(("truck", 0.2, BOX))
        targets = match_targets(found, make_detections(), (), doubtful=doubtful)
        np.testing.assert_array_equal(targets.scores, [np.nan, 0])
        assert targets.labels == ("", "")

    def test_a_second_box_of_a_true_object_is_wrong_even_on_a_doubtful_one(self, make_detections):
        targets = match_targets(
            make_detections(("car", 0.4, BOX), ("truck", 0.2, SHIFTED)),
            make_detections(("car", 0.9, BOX)),
            ("",),
            doubtful=make_detections(("truck", 0.2, SHIFTED)),
        )
        assert targets.scores.tolist() == pytest.approx([0.9, 0])

    def test_of_what_lies_in_an_unlabelled_region_nothing_is_known(self, make_detections):
        found = make_detections(
            ("car", 0.4, OTHER), ("person", 0.3, (20, 20, 60, 80)), ("dog", 0.2, BOX)
        )
        crowd = make_detections(("person", 1.0, (0, 0, 640, 90)))
        targets = match_targets(found, make_detections(), (), regions=crowd)
        np.testing.assert_array_equal(targets.scores, [0, np.nan, 0])

    def test_novelty_is_that_of_the_image(self, make_detections):
        found = make_detections(("car", 0.4, BOX), ("car", 0.3, OTHER))
        assert np.isnan(match_targets(found, make_detections(), ()).novelty).all()
        known = match_targets(found, make_detections(), (), novelty=0.5)
        assert known.novelty.tolist() == [0.5, 0.5]

    def test_boxes_without_an_area_match_nothing(self, make_detections):
        point = make_detections(("car", 0.9, (10, 10, 10, 10)))
        assert match_targets(point, point, ("",)).scores.tolist() == [0]


class TestSource:
    @pytest.fixture
    def folder(self, tmp_path):
        for index in range(6):
            cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((4, 5, 3), index, np.uint8))
        return tmp_path

    @pytest.mark.parametrize(
        ("chosen", "expected"),
        [
            ({}, [0, 1, 2, 3, 4, 5]),
            ({"first": 1, "last": 5, "step": 2}, [1, 3, 5]),
            ({"first": 4, "last": 99}, [4, 5]),
            ({"first": 9}, []),
        ],
    )
    def test_frames_are_those_asked_for(self, folder, chosen, expected):
        source = FrameSource(name="numbers", path=folder, **chosen)
        assert [(index, image[0, 0, 0]) for index, image in source.read()] == [
            (index, index) for index in expected
        ]

    def test_a_missing_video_is_an_error(self, tmp_path):
        with pytest.raises(ImageError):
            list(FrameSource(name="none", path=tmp_path / "none.mp4").read())


class TestExamples:
    @pytest.fixture(scope="class")
    def source(self):
        path = weights.locate("vtest") / "vtest.avi"
        return FrameSource(name="vtest", path=path, first=0, last=20, step=20)

    @pytest.fixture(scope="class")
    def encoder(self, compute):
        from mrmllm_ros.model.visual_encoder import VisualEncoder, VisualEncoderSettings

        return VisualEncoder.load(VisualEncoderSettings(), compute)

    @pytest.fixture(scope="class")
    def examples(self, source, detector, encoder):
        return list(frame_examples([source], detector, encoder, views=3, seed=1))

    def test_every_frame_is_seen_as_often_as_asked(self, examples):
        assert len(examples) == 6

    def test_every_part_is_about_the_same_candidates(self, examples, detector, encoder):
        for example in examples:
            count = len(example.perception.candidates)
            assert len(example.attributes) == len(example.targets.labels) == count
            assert example.perception.features.shape == (count, detector.feature_width)
            assert example.visual.shape == (encoder.grid[0] * encoder.grid[1], encoder.width)

    def test_tensors_are_stored_small(self, examples):
        for example in examples:
            for tensor in (example.perception.features, example.visual):
                assert tensor.dtype == torch.float16
                assert tensor.device.type == "cpu"
                assert tensor.untyped_storage().nbytes() == 2 * tensor.numel()

    def test_some_candidates_are_right_and_some_are_not(self, examples):
        scores = np.concatenate([example.targets.scores for example in examples])
        assert 0 < (scores >= SURE_FROM).sum() < (scores > 0).sum() < len(scores)

    def test_what_is_seen_is_not_taught_to_be_what_everything_is_called(self, examples):
        assert {label for example in examples for label in example.targets.labels} == {""}

    def test_without_damage_the_detector_is_right(self, source, detector):
        _, frame = next(source.read())
        [clean] = detector.detect([frame])
        truth, unsure = pseudo_labels(clean), unsure_labels(clean)
        assert len(truth)
        assert len(unsure)
        targets = match_targets(clean.candidates, truth, [""] * len(truth), unsure=unsure)
        np.testing.assert_array_equal(targets.scores, clean.candidates.scores)

    def test_novelty_grows_with_the_damage(self, examples):
        for example in examples:
            assert len(set(example.targets.novelty.tolist())) <= 1
        novelty = np.concatenate([example.targets.novelty for example in examples])
        assert set(np.rint(novelty * 3)) <= {0, 1, 2, 3}
        assert novelty.max() > 0

    def test_attributes_are_colours(self, examples):
        named = [a for example in examples for a in example.attributes if a]
        assert named
        assert all(set(attributes) == {"colour"} for attributes in named)

    def test_the_same_seed_gives_the_same_examples(self, examples, source, detector):
        # Without the first frame: no example depends on others.
        later = replace(source, first=20)
        again = list(frame_examples([later], detector, views=3, seed=1))
        for one, other in zip(examples[3:], again, strict=True):
            assert other.visual is None
            np.testing.assert_allclose(
                other.perception.candidates.xyxy, one.perception.candidates.xyxy, atol=0.5
            )
            assert other.targets.labels == one.targets.labels

    def test_questions_cite_reported_objects_only(self, examples):
        assert any(example.questions for example in examples)
        for example in examples:
            assert len(example.questions) <= 8
            for item in example.questions:
                assert (item.truth.cited or set()) <= {*range(1, example.perception.reported + 1)}

    def test_other_questions_can_be_asked_about_what_was_found(self, source, detector):
        asked = []

        def questions(example, rng):
            asked.append((example.perception, example.attributes))
            return ()

        made = list(frame_examples([source], detector, questions=questions))
        assert [(example.perception, example.attributes) for example in made] == asked
