# SPDX-License-Identifier: Apache-2.0
import re

import pytest
from labeled_fixtures import content

from mrmllm_ros.datasets.coco import read_coco
from mrmllm_ros.datasets.data_errors import DataError


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
        assert [entry["id"] for entry in street.annotations] == [1, 3, 4]

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
