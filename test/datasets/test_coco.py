# SPDX-License-Identifier: Apache-2.0
import json
import re

import cv2
import numpy as np
import pytest
import torch

from mrmllm_ros.datasets.coco import coco_examples, read_coco
from mrmllm_ros.datasets.data_errors import DataError

# Of the street, (540, 405, 3): left, top, width, height.
BUS = [10, 115, 390, 265]
PEOPLE = ([27, 200, 93, 251], [335, 197, 70, 240], [110, 203, 62, 227])


@pytest.fixture(scope="module")
def images(tmp_path_factory, bus_image):
    folder = tmp_path_factory.mktemp("images")
    street = cv2.resize(bus_image, (405, 540), interpolation=cv2.INTER_AREA)
    (folder / "yard").mkdir()
    cv2.imwrite(str(folder / "yard" / "street.png"), street)
    cv2.imwrite(str(folder / "gray.png"), np.full((120, 160, 3), 128, np.uint8))
    return folder


def content():
    """A data set as it should be."""
    boxes = [(1, BUS), *((2, box) for box in PEOPLE)]
    return {
        "images": [
            {"id": 7, "file_name": "yard/street.png", "width": 405, "height": 540},
            {"id": 8, "file_name": "gray.png", "width": 160, "height": 120},
        ],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": category, "bbox": box, "iscrowd": 0}
            for n, (category, box) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 1, "name": "bus"}, {"id": 2, "name": "person"}],
    }


@pytest.fixture
def write(tmp_path):
    def write(values):
        path = tmp_path / "instances.json"
        path.write_text(values if isinstance(values, str) else json.dumps(values))
        return path

    return write


class TestReading:
    def test_objects_get_names_and_corners(self, images, write):
        dataset = read_coco(images, write(content()))
        street, gray = dataset.images
        assert dataset.labels == ("bus", "person")
        assert street.path == images / "yard" / "street.png"
        assert street.truth.labels == ("bus", "person", "person", "person")
        assert street.truth.xyxy[0].tolist() == [10, 115, 400, 380]
        assert street.truth.resolution_wh == (405, 540)
        assert len(street.crowds) == len(gray.truth) == 0

    def test_crowds_are_kept_apart(self, images, write):
        values = content()
        values["annotations"][1]["iscrowd"] = 1
        [street, _] = read_coco(images, write(values)).images
        assert street.truth.labels == ("bus", "person", "person")
        assert street.crowds.labels == ("person",)

    def test_boxes_end_with_the_image_and_have_an_area(self, images, write):
        values = content()
        values["annotations"][0]["bbox"] = [-3.5, 500, 500, 80]
        values["annotations"][1]["bbox"] = [10, 10, 0, 20]
        [street, _] = read_coco(images, write(values)).images
        assert street.truth.labels == ("bus", "person", "person")
        assert street.truth.xyxy[0].tolist() == [0, 500, 405, 540]
        # The second has no area.
        assert [entry["id"] for entry in street.object_entries] == [1, 3, 4]

    def test_without_a_folder_the_image_files_need_not_exist(self, write):
        values = content()
        values["annotations"][1]["iscrowd"] = 1
        [street, _] = read_coco(None, write(values)).images
        assert street.objects.labels == ("bus", "person", "person", "person")
        assert street.crowd.tolist() == [False, True, False, False]
        assert street.entry == content()["images"][0]

    def test_ids_may_be_texts(self, images, write):
        values = content()
        values["categories"][0]["id"] = values["annotations"][0]["category_id"] = "b"
        assert read_coco(images, write(values)).images[0].truth.labels[0] == "bus"


def wrong(part, index, **fields):
    values = content()
    values[part][index] |= fields
    return values


class TestErrors:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ('{"images": [', r"instances.json is not JSON: .*line 1.*export"),
            ("[" * 100_000, r"instances.json is not JSON: .*nested too deeply"),
            ([], "not a COCO file"),
            ({}, 'no categories: it needs a list "categories"'),
            ({**content(), "images": []}, "has no images"),
            ({**content(), "annotations": []}, "has no annotations"),
            (wrong("categories", 0, name=" "), r"categories\[0\] has a blank name"),
        ],
    )
    def test_a_wrong_entry_is_named(self, images, write, values, message):
        with pytest.raises(DataError, match=message):
            read_coco(images, write(values))

    def test_missing_files_are_named(self, images, write, tmp_path):
        with pytest.raises(DataError, match=r"cannot read .*none.json: No such file"):
            read_coco(images, tmp_path / "none.json")
        with pytest.raises(DataError, match=r"there is no folder .*none"):
            read_coco(tmp_path / "none", write(content()))


class TestSkipping:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (wrong("annotations", 1, image_id=9), r"annotations\[1\] \(id 2\) .* image_id 9"),
            (wrong("annotations", 1, category_id=[]), r'category_id \[\].* "categories" has; add'),
            (wrong("annotations", 2, bbox=[1, 2, 3]), r"annotations\[2\].*\[left, top, width"),
            (wrong("annotations", 2, bbox=[1, 2, -3, 4]), "width and height not below 0"),
            (wrong("annotations", 2, bbox=[1, 2, 3, float("nan")]), "has the bbox .*nan"),
            (wrong("annotations", 2, bbox=[1, 2, "3", 4]), "has the bbox"),
            (wrong("annotations", 2, bbox=None), "has the bbox None"),
            ({**content(), "annotations": [3, *content()["annotations"]]}, r"\[0\] is 3"),
        ],
    )
    def test_a_wrong_annotation_is_named_and_counted(self, images, write, values, message):
        lines = []
        dataset = read_coco(images, write(values), lines.append)
        assert sum(len(image.truth) for image in dataset.images) >= 3
        named, counted = lines
        assert re.search(message, named)
        assert re.search(r"1 of [45] annotations of .* are skipped", counted)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (wrong("images", 1, id=7), r"images\[1\] has the id 7 of an earlier entry"),
            (wrong("images", 1, id=None), r'"id" must be a unique number or text'),
            (wrong("images", 1, file_name="none.png"), r"images\[1\]: there is no image .*none"),
            (wrong("images", 1, file_name="x" * 300), r"images\[1\]: there is no image"),
            (wrong("images", 1, width=None), '"width" must be in whole pixels'),
            (wrong("images", 1, height=0), "has the size 160 x 0"),
        ],
    )
    def test_a_wrong_image_is_named_and_counted(self, images, write, values, message):
        lines = []
        [street] = read_coco(images, write(values), lines.append).images
        assert len(street.truth) == 4
        named, counted = lines
        assert re.search(message, named)
        assert re.search(r"1 of 2 images of .* are skipped", counted)

    def test_annotations_of_a_skipped_image_go_with_it(self, images, write):
        values = wrong("images", 0, file_name="none.png")
        lines = []
        [gray] = read_coco(images, write(values), lines.append).images
        assert (gray.name, len(lines)) == ("gray.png", 2)

    @pytest.mark.parametrize("part", ["images", "annotations"])
    def test_a_file_with_mostly_wrong_entries_is_an_error(self, images, write, part):
        values = content()
        for entry in values[part]:
            entry |= {"file_name": "none.png", "bbox": None}
        with pytest.raises(DataError, match=r"(2 of 2|4 of 4) .* more than half; the first: .*"):
            read_coco(images, write(values))

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
        named, counted = lines
        assert "broken.png" in named
        assert "1 of 3 images" in counted

    def test_a_label_without_a_box_makes_its_candidates_unknown(self, images, write, detector):
        path = write(wrong("annotations", 1, bbox=None))
        [street, _] = coco_examples(read_coco(images, path), detector, None, corrupted_share=0.0)
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
            return list(coco_examples(read_coco(images, write(values)), detector, None, **options))

        return examples

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
        [street, _] = coco_examples(dataset, detector, None, corrupted_share=0.0)
        labels = street.perception.candidates.labels
        people = np.array([label == "person" for label in labels])
        # Even where they stand before the labeled bus.
        assert people.sum() >= 2
        assert np.isnan(street.targets.scores[people]).all()
        others = np.array([label == "bus" for label in labels])
        assert not np.isnan(street.targets.scores[others]).any()
