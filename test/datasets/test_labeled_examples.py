# SPDX-License-Identifier: Apache-2.0

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from labeled_fixtures import PEOPLE, content, rendered

from mrmllm_ros.datasets import feature_cache
from mrmllm_ros.datasets.annotated_scenes import annotated_scene
from mrmllm_ros.datasets.coco import read_coco
from mrmllm_ros.datasets.feature_cache import FeatureCache
from mrmllm_ros.datasets.labeled_examples import ViewSettings, coco_examples
from mrmllm_ros.datasets.labeled_views import labeled_views
from mrmllm_ros.datasets.questions.question_sampler import with_questions
from mrmllm_ros.datasets.views import View
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.training.leg import UnfinishedError

CLEAN = ViewSettings(corrupted_share=0.0)
# A correction of labels that reverses the candidates.
BACKWARDS = SimpleNamespace(
    classify=lambda images, perceptions: [
        np.zeros((len(each.candidates), 2), np.float32) for each in perceptions
    ],
    fuse=lambda perception, _: (
        perception.take(np.arange(len(perception.candidates))[::-1].copy()),
        np.arange(len(perception.candidates))[::-1],
    ),
)
# A depth image must have 16 bits.
EIGHT_BITS = cv2.imencode(".png", np.ones((120, 160), np.uint8))[1].tobytes()


class TestSkipping:
    @pytest.mark.parametrize("fault", ["no image", "another size", "empty"])
    def test_an_unusable_image_does_not_change_other_examples(
        self, images, write, detector, fault
    ):
        broken = {"no image": b"no image", "empty": b""}
        (images / "broken.png").write_bytes(
            broken.get(fault, (images / "yard" / "street.png").read_bytes())
        )
        values, lines = content(), []
        expected = list(coco_examples(read_coco(images, write(values)), detector, None))
        entry = {"id": 9, "file_name": "broken.png", "width": 160, "height": 120}
        values["images"].insert(0, entry)
        dataset = read_coco(images, write(values))
        made = list(coco_examples(dataset, detector, None, progress=lines.append))
        assert [e.targets.labels for e in made] == [e.targets.labels for e in expected]
        named, counted, _ = lines
        assert "broken.png" in named
        assert "1 of 3 images" in counted

    def test_a_label_without_a_box_makes_its_candidates_unknown(self, images, write, detector):
        values = content()
        values["annotations"][1]["bbox"] = None
        path = write(values)
        [street, _] = coco_examples(read_coco(images, path), detector, None, CLEAN)
        labels, scores = street.perception.candidates.labels, street.targets.scores
        people = scores[[label == "person" for label in labels]]
        # One person may be any candidate, so none of the others is known to be wrong.
        assert not (people == 0).any()
        assert np.isnan(people).any()
        assert "person" in street.missed


class TestExamples:
    @pytest.fixture
    def examples(self, images, write, detector):
        def examples(values, **options):
            dataset = read_coco(images, write(values))
            return list(coco_examples(dataset, detector, None, ViewSettings(**options)))

        return examples

    def test_targets_are_those_of_the_corrected_candidates(self, images, write, detector):
        dataset = read_coco(images, write(content()))
        plain = list(coco_examples(dataset, detector, None, CLEAN))
        corrected = list(coco_examples(dataset, detector, None, CLEAN, label_fusion=BACKWARDS))
        for before, after in zip(plain, corrected, strict=True):
            assert after.region_names is None
            assert after.targets.labels == before.targets.labels[::-1]
            assert after.attributes == before.attributes[::-1]
            np.testing.assert_array_equal(after.targets.scores, before.targets.scores[::-1])

    def test_every_image_gives_as_many_examples_as_views(self, examples):
        assert len(examples(content(), views=3)) == 6

    def test_candidates_get_the_labels_of_their_objects(self, examples):
        made = examples(content(), views=6, corrupted_share=0.0)
        labels = {label for example in made for label in example.targets.labels}
        assert labels == {"", "bus", "person"}
        for example in made:
            targets, count = example.targets, len(example.perception.candidates)
            assert len(targets.labels) == len(example.attributes) == count
            assert (targets.novelty == 0).all()
            assert example.visual is None
            assert example.perception.features.dtype == torch.float16
            # Boxes end with the view.
            right_bottom = targets.xyxy[targets.scores == 1, 2:]
            assert (right_bottom <= example.perception.candidates.resolution_wh).all()

    def test_labels_that_the_detector_does_not_have_are_targets(self, examples):
        values = content()
        values["categories"][0]["name"] = "shuttle"
        made = examples(values, views=4, corrupted_share=0.0)
        assert "shuttle" in {label for example in made for label in example.targets.labels}

    def test_targets_are_unknown_for_labels_that_are_not_annotated(self, examples):
        values = content()
        values["annotations"] = values["annotations"][:1]
        values["categories"] = values["categories"][:1]
        people = []
        for example in examples(values, views=4, corrupted_share=0.0):
            assert "person" not in example.targets.labels
            labels = example.perception.candidates.labels
            scores = example.targets.scores.tolist()
            people += [s for s, label in zip(scores, labels, strict=True) if label == "person"]
        assert len(people) > 4
        assert np.isnan(people).all()

    def test_targets_are_unknown_in_crowds(self, examples):
        values = content()
        values["annotations"][1] |= {"iscrowd": 1, "bbox": [0, 0, 405, 540]}
        values["annotations"] = values["annotations"][1:2]
        values["images"] = values["images"][:1]
        scores = [example.targets.scores for example in examples(values, views=4)]
        assert sum(map(len, scores)) > 8
        assert np.isnan(np.concatenate(scores)).all()

    def test_corrupted_views_are_novel(self, examples):
        made = examples(content(), views=4, corrupted_share=1.0)
        novelty = np.concatenate([example.targets.novelty for example in made])
        assert set(np.rint(novelty * 3)) <= {1, 2, 3}

    def test_the_same_seed_gives_the_same_examples(self, examples):
        first, again, other = (examples(content(), seed=seed) for seed in (1, 1, 2))
        assert [e.targets.labels for e in first] == [e.targets.labels for e in again]
        np.testing.assert_allclose(
            first[0].perception.candidates.xyxy, again[0].perception.candidates.xyxy, atol=0.5
        )
        resolutions = ([e.perception.candidates.resolution_wh for e in x] for x in (first, other))
        assert next(resolutions) != next(resolutions)

    def test_labels_that_the_detector_does_not_find_are_missed(self, images, write, detector):
        values = content()
        # Labeled where the detector sees nothing.
        values["categories"] += [
            {"id": n, "name": name} for n, name in enumerate(detector.labels[5:], start=10)
        ]
        values["annotations"] = [
            {"image_id": 8, "category_id": n, "bbox": [0, 0, 160, 120]}
            for n in range(10, 10 + len(detector.labels[5:]))
        ]
        [_, gray] = coco_examples(read_coco(images, write(values)), detector, None)
        # Four names nobody looked for; people were, and there are none.
        assert gray.missed == {*detector.labels} - {"person"}

    def test_targets_are_unknown_on_objects_of_annotated_labels(self, images, write, detector):
        values = content()
        del values["categories"][1], values["annotations"][1:]
        dataset = read_coco(images, write(values))
        [street, _] = coco_examples(dataset, detector, None, CLEAN)
        labels = street.perception.candidates.labels
        people = np.array([label == "person" for label in labels])
        # Even where they stand before the labeled bus.
        assert people.sum() >= 2
        assert np.isnan(street.targets.scores[people]).all()
        others = np.array([label == "bus" for label in labels])
        assert not np.isnan(street.targets.scores[others]).any()


class TestCompleteAnnotations:
    @pytest.fixture
    def whole(self, monkeypatch):
        """Views of the whole image, not mirrored."""
        monkeypatch.setattr(
            View,
            "sample",
            lambda shape, rng: View(start_xy=(0, 0), crop_wh=(shape[1], shape[0]), mirrored=False),
        )

    @pytest.fixture
    def examples(self, images, write, detector):
        def examples(values, **options):
            options = {"corrupted_share": 0.0} | options
            dataset = read_coco(images, write(values))
            return list(coco_examples(dataset, detector, None, ViewSettings(**options)))

        return examples

    def test_listed_objects_have_their_true_labels_and_facts(self, whole, examples):
        [street] = examples(rendered())
        scene, listed = street.scene, street.perception.detections
        assert "bus" in scene.labels
        assert "man" in scene.labels
        assert "man" not in listed.labels
        bus = scene.labels.index("bus")
        assert scene.attributes[bus] == {"color": "pink"}
        assert scene.annotation.occlusion[bus] == 0.5
        assert scene.annotation.place == "kitchen"
        assert street.context == "a street"

    def test_targets_have_annotated_colors(self, whole, examples):
        [street] = examples(rendered())
        colors = dict(zip(street.targets.labels, street.targets.attributes, strict=True))
        assert colors["bus"] == {"color": "pink"}

    def test_objects_without_an_annotated_color_keep_the_measured_one(self, whole, examples):
        [street] = examples(rendered())
        man = street.scene.labels.index("man")
        assert street.scene.attributes[man] == street.attributes[man]

    def test_ignored_objects_are_neither_targets_nor_negatives(self, whole, examples):
        values = rendered()
        values["annotations"] = values["annotations"][2:3]
        [street] = examples(values)
        scores = street.targets.scores
        assert not (scores == 1).any()
        assert np.isnan(scores).any()
        assert "person" in street.missed
        assert not any(street.scene.labels)

    def test_missed_objects_are_known_with_their_places(self, whole, examples):
        [street] = examples(rendered())
        unlisted = {x.label: x for x in street.scene.annotation.unlisted}
        np.testing.assert_allclose(
            unlisted["kettle"].box, [200 / 405, 10 / 540, 280 / 405, 80 / 540], rtol=1e-5
        )
        asked = {
            item.question: item
            for number in range(40)
            for item in with_questions(
                street,
                np.random.default_rng(number),
                vocabulary=("bus", "person", "kettle"),
                shares={"missed": 0.5},
            ).questions
        }
        missed = [x for x in asked.values() if x.family == "missed"]
        assert {x.answer for x in missed} == {"Yes, I see a kettle."}
        assert not [x for x in asked.values() if "no" in x.answer.split() and "kettle" in x.answer]

    def test_a_missed_object_with_a_doubtful_box_of_its_label_is_known_as_doubtful(
        self, whole, images, write, make_detections
    ):
        [item] = read_coco(images, write(rendered())).images
        [view] = labeled_views(item, 1, 0)
        man, _, person = (np.array([x, y, x + w, y + h]) for x, y, w, h in PEOPLE)
        found = make_detections(
            ("kettle", 0.25, (200, 10, 280, 80)),
            ("man", 0.6, tuple(man)),
            ("cup", 0.28, tuple(person)),
            resolution_wh=(405, 540),
        )
        scene = annotated_scene(Perception.ranked(found, 0.3), ["red", "", ""], view, "")
        assert scene.labels == ("man",)
        # The names are those of the list, also where the truth differs.
        assert scene.doubtful == {2: "cup", 3: "kettle"}
        doubtful = {x.label: x.is_doubtful for x in scene.annotation.unlisted}
        assert doubtful == {"bus": False, "person": False, "kettle": True}

    def test_half_of_the_views_state_distances_also_of_what_is_not_there(
        self, whole, examples, images, write, detector
    ):
        values = rendered()
        values["images"][0]["depth_file"] = "depth.png"
        depth = np.full((540, 405), 3000, np.uint16)
        cv2.imwrite(str(write(values).parent / "depth.png"), depth)
        made = examples(values, views=20)
        stated = [e for e in made if e.perception.candidates.distances_m is not None]
        assert 4 < len(stated) < 16
        for example in stated:
            scene, distances = example.scene, example.perception.detections.distances_m
            assert distances[scene.labels.index("bus")] == np.float32(12.25)
            assert not np.isnan(distances).any()
            others = [i for i, label in enumerate(scene.labels) if label not in ("bus", "man")]
            assert {float(distances[i]) for i in others} <= {3.0}
            assert scene.meters[scene.labels.index("bus")] == 12.2
            unlisted = {x.label: x.meters for x in scene.annotation.unlisted}
            assert unlisted["kettle"] == 2.0
        others = [e for e in made if e.perception.candidates.distances_m is None]
        assert all(np.isnan(x.meters) for e in others for x in e.scene.annotation.unlisted)

    @pytest.mark.parametrize(("occlusion", "known"), [(0.0, set()), (0.5, {0.5})])
    def test_cut_objects_are_hidden_or_nothing_is_known(self, examples, occlusion, known):
        values = rendered()
        values["annotations"][0]["occlusion"] = occlusion
        found = [
            (occlusion, e)
            for e in examples(values, views=12)
            for label, occlusion in zip(e.scene.labels, e.scene.annotation.occlusion, strict=True)
            if label == "bus"
        ]
        occlusions = np.array([occlusion for occlusion, _ in found])
        assert np.isnan(occlusions).any() == (occlusion < 0.4)
        assert set(occlusions[~np.isnan(occlusions)]) == known

    def test_other_annotations_give_no_scene(self, examples):
        assert all(e.scene is None and e.context is None for e in examples(content()))

    @pytest.mark.parametrize("fault", [b"no image", b"", EIGHT_BITS])
    def test_a_wrong_depth_image_is_skipped_and_named(self, images, write, detector, fault):
        values = content()
        values["images"][1]["depth_file"] = "depth.png"
        path = write(values)
        (path.parent / "depth.png").write_bytes(fault)
        lines = []
        made = list(coco_examples(read_coco(images, path), detector, None, progress=lines.append))
        assert len(made) == 1
        assert f"the depth image {path.parent / 'depth.png'}" in lines[0]

    def test_a_missing_depth_image_is_skipped_and_named(self, images, write, detector):
        values, lines = content(), []
        values["images"][1]["depth_file"] = "depth.png"
        path = write(values)
        made = list(coco_examples(read_coco(images, path), detector, None, progress=lines.append))
        assert len(made) == 1
        assert str(path.parent / "depth.png") in lines[0]


class TestCache:
    @pytest.fixture
    def cache(self, monkeypatch, tmp_path):
        """Function that opens a cache in a folder of its own."""
        monkeypatch.setattr(feature_cache, "cache_folder", lambda: tmp_path / "cache")

        def cache(lines=None, **configuration):
            report = None if lines is None else lines.append
            return FeatureCache(configuration, 1e9, report)

        return cache

    @pytest.fixture
    def run(self, images, write, detector):
        def run(cache, values=None, lines=None, **options):
            options = {"views": 3} | options
            report = None if lines is None else lines.append
            dataset = read_coco(images, write(values or rendered()))
            found = coco_examples(
                dataset, detector, None, ViewSettings(**options), cache=cache, progress=report
            )
            return list(found)

        return run

    def test_a_second_run_gives_the_same_examples_without_the_detector(
        self, cache, run, images, write
    ):
        first, lines = run(cache()), []
        dataset = read_coco(images, write(rendered()))
        absent = SimpleNamespace(labels=tuple(first[0].perception.label_scores.labels))
        again = list(
            coco_examples(
                dataset, absent, None, ViewSettings(views=3), cache=cache(), progress=lines.append
            )
        )
        assert lines == ["features: 1 of 1 images, 1 of them from earlier runs"]
        assert len(again) == len(first) == 3
        for one, other in zip(first, again, strict=True):
            assert one.attributes == other.attributes
            assert one.targets.labels == other.targets.labels
            assert one.scene.labels == other.scene.labels
            assert torch.equal(one.perception.features, other.perception.features)
            np.testing.assert_array_equal(one.targets.scores, other.targets.scores)
            candidates = one.perception.candidates, other.perception.candidates
            np.testing.assert_array_equal(*(x.xyxy for x in candidates))
            assert candidates[0].resolution_wh == candidates[1].resolution_wh
            assert one.perception.reported == other.perception.reported

    def test_changed_annotations_beside_boxes_need_no_new_features(self, cache, run):
        run(cache())
        values, lines = rendered(), []
        values["annotations"][0]["color"] = "blue"
        made = run(cache(), values, lines)
        assert lines[-1].endswith("1 of them from earlier runs")
        assert {"color": "blue"} in [each for e in made for each in e.targets.attributes]

    def test_changed_images_boxes_or_models_need_new_features(self, cache, run, images):
        run(cache())
        moved = rendered()
        moved["annotations"][0]["bbox"] = [0, 115, 390, 265]
        lines = []
        run(cache(), moved, lines)
        run(cache(detector="other"), None, lines)
        image = images / "yard" / "street.png"
        kept = image.read_bytes()
        cv2.imwrite(str(image), np.zeros((540, 405, 3), np.uint8))
        run(cache(), None, lines)
        image.write_bytes(kept)
        assert lines == ["features: 1 of 1 images, 0 of them from earlier runs"] * 3

    @pytest.mark.parametrize("damage", ["cut", "changed", "foreign", "empty"])
    def test_a_damaged_or_foreign_file_is_computed_again(self, cache, run, damage):
        expected = run(cache())
        [file] = cache().folder.glob("*.npz")
        data = bytearray(file.read_bytes())
        if damage == "cut":
            del data[len(data) // 2 :]
        elif damage == "changed":
            data[len(data) // 2] ^= 0xFF
        elif damage == "empty":
            data.clear()
        else:
            run(cache(of="another"))
            [other] = cache(of="another").folder.glob("*.npz")
            data = other.read_bytes()
        file.write_bytes(data)
        messages, lines = [], []
        again = run(cache(messages), None, lines)
        assert [e.targets.labels for e in again] == [e.targets.labels for e in expected]
        [message] = messages
        assert f"{file} is damaged and is computed again" in message
        run(cache(), None, lines)
        assert lines[-1].endswith("1 of them from earlier runs")

    def test_images_are_reported_and_legs_may_end_after_each_batch(
        self, cache, run, images, write, detector
    ):
        values = rendered()
        values["images"] = [values["images"][0] | {"id": 7 + n} for n in range(6)]
        bus = values["annotations"][0]
        values["annotations"] = [
            bus | {"image_id": 7 + n, "bbox": [n, 115, 390, 265]} for n in range(6)
        ]
        dataset = read_coco(images, write(values))

        def end():
            raise UnfinishedError

        legs = 0
        while True:
            lines, legs = [], legs + 1
            found = coco_examples(
                dataset, detector, None, cache=cache(), computed=end, progress=lines.append
            )
            try:
                made = list(found)
                break
            except UnfinishedError:
                assert not lines
        assert legs == 3
        assert len(made) == 6
        assert lines == ["features: 6 of 6 images, 6 of them from earlier runs"]
