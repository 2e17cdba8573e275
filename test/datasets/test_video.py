# SPDX-License-Identifier: Apache-2.0
import re
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mrmllm_ros import weights
from mrmllm_ros.datasets.data_errors import DataError, Skipped
from mrmllm_ros.datasets.questions.grammar import plural
from mrmllm_ros.datasets.questions.question_sampler import with_questions
from mrmllm_ros.datasets.targets import (
    PSEUDO_LABEL_THRESHOLD,
    match_targets,
    pseudo_labels,
    uncertain_objects,
)
from mrmllm_ros.datasets.video import FrameSource, frame_examples
from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.model.prompt import PERHAPS_THRESHOLD


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
    def test_frames_are_selected_by_range_and_step(self, folder, chosen, expected):
        source = FrameSource(name="numbers", path=folder, **chosen)
        assert [(index, image[0, 0, 0]) for index, image in source.read()] == [
            (index, index) for index in expected
        ]

    def test_an_unreadable_image_is_named_and_the_others_keep_their_indices(self, folder):
        (folder / "2.png").write_text("no image")
        lines = []
        skipped = Skipped("images", lines.append)
        source = FrameSource(name="numbers", path=folder)
        assert [(i, image[0, 0, 0]) for i, image in source.read(skipped)] == [
            (index, index) for index in (0, 1, 3, 4, 5)
        ]
        [named] = lines
        assert "2.png" in named

    def test_a_folder_with_mostly_unreadable_images_is_an_error(self, folder, detector):
        for index in range(4):
            (folder / f"{index}.png").write_text("no image")
        source = FrameSource(name="numbers", path=folder)
        with pytest.raises(DataError, match=r"4 of 6 images of .* more than half; .*0\.png"):
            list(frame_examples([source], detector))

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
        from mrmllm_ros.model.model_settings import VisualEncoderSettings
        from mrmllm_ros.model.visual_encoder import VisualEncoder

        return VisualEncoder.load(VisualEncoderSettings(), compute)

    @pytest.fixture(scope="class")
    def examples(self, source, detector, encoder):
        return list(frame_examples([source], detector, encoder, views=3, seed=1))

    def test_every_frame_gives_as_many_examples_as_views(self, examples):
        assert len(examples) == 6

    def test_all_parts_have_the_same_length(self, examples, detector, encoder):
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
        assert 0 < (scores >= PSEUDO_LABEL_THRESHOLD).sum() < (scores > 0).sum() < len(scores)

    def test_targets_have_no_labels(self, examples):
        assert {label for example in examples for label in example.targets.labels} == {""}

    def test_corrected_labels_are_targets(self, source, detector):
        def classify(images, perceptions):
            return [np.zeros((len(each.candidates), 2)) for each in perceptions]

        def fuse(perception, _):
            labels = ("corrected",) * len(perception.candidates)
            candidates = replace(perception.candidates, labels=labels)
            return replace(perception, candidates=candidates), np.arange(len(labels))

        fusion = SimpleNamespace(
            classify=classify,
            fuse=fuse,
            fuse_images=lambda images, each: [fuse(perception, None)[0] for perception in each],
        )
        example = next(iter(frame_examples([source], detector, label_fusion=fusion)))
        assert set(example.targets.labels) == {"corrected"}
        # Objects of the clean view are matched by their corrected labels.
        assert (example.targets.scores > 0).any()

    def test_targets_of_a_clean_image_are_the_detectors_scores(self, source, detector):
        _, frame = next(source.read())
        [clean] = detector.detect([frame])
        truth, uncertain = pseudo_labels(clean), uncertain_objects(clean)
        assert len(truth)
        assert len(uncertain)
        targets = match_targets(clean.candidates, truth, [""] * len(truth), uncertain=uncertain)
        np.testing.assert_array_equal(targets.scores, clean.candidates.scores)

    def test_novelty_grows_with_the_severity(self, examples):
        for example in examples:
            assert len(set(example.targets.novelty.tolist())) <= 1
        novelty = np.concatenate([example.targets.novelty for example in examples])
        assert set(np.rint(novelty * 3)) <= {0, 1, 2, 3}
        assert novelty.max() > 0

    def test_objects_that_a_corruption_hides_are_missed(self, source, detector):
        missed = 0
        for example in frame_examples([source], detector, views=3, seed=1):
            reported = example.perception.detections.labels
            assert len(example.missed) < 5
            missed += len(example.missed - {*reported})
        assert missed

    def test_attributes_are_colors(self, examples):
        named = [a for example in examples for a in example.attributes if a]
        assert named
        assert all(set(attributes) == {"color"} for attributes in named)

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

    def test_a_source_without_frames_in_its_range_is_named(self, source, detector):
        late = replace(source, first=10**6, last=None)
        with pytest.raises(DataError, match=r"vtest\.avi has no frames from 1000000 to the end"):
            list(frame_examples([source, late], detector))

    def test_examples_have_no_questions(self, examples):
        assert not any(example.questions for example in examples)

    def test_questions_cite_named_objects_and_deny_no_missed_ones(self, examples, detector):
        rng = np.random.default_rng(0)
        made = [with_questions(e, rng, vocabulary=detector.labels) for e in examples]
        assert any(example.questions for example in made)
        for example in made:
            assert len(example.questions) <= 8
            perception = example.perception
            reported = range(1, perception.reported + 1)
            named = {*reported, *perception.doubtful(PERHAPS_THRESHOLD)}
            for item in example.questions:
                assert (item.truth.cited or set()) <= named
            # How two that are cited are to each other does not hang on what is hidden.
            denied = " ".join(
                item.answer
                for item in example.questions
                if item.truth.polarity is False
                and item.family not in ("relation", "size")
                and not re.search("(closer|farther away), so no", item.answer)
            )
            hidden = [*example.missed, *map(plural, example.missed)]
            assert not [x for x in hidden if re.search(rf"\b{x}\b", denied, re.IGNORECASE)]
