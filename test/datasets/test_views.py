# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from mrmllm_ros.datasets.views import CorruptedImage, View


def rng(seed=0):
    return np.random.default_rng(seed)


def view(image, generator):
    return View.sample(image.shape, generator).crop(image)


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
            chosen = View.sample(shape, rng(seed))
            white = chosen.crop(image)[..., 0] > 127
            assert chosen.resolution_wh == white.shape[::-1]
            [box] = chosen.transform_boxes(np.array([[left, top, right, bottom]], np.float32))
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


class TestCorruptedImage:
    def test_corruptions_are_as_frequent_as_requested(self):
        clean = rng().integers(0, 256, (8, 8, 3), np.uint8)
        images = [CorruptedImage.sample(clean, 0.75, rng(seed)) for seed in range(100)]
        corrupted = [image for image in images if image.severity]
        assert 60 < len(corrupted) < 90
        assert {image.novelty for image in corrupted} == {1 / 3, 2 / 3, 1.0}
        assert all((image.corrupted != clean).any() for image in corrupted)

    def test_a_clean_image_is_familiar(self):
        image = CorruptedImage.sample(np.zeros((4, 4, 3), np.uint8), 0.0, rng())
        assert image.corrupted is image.clean
        assert image.novelty == 0
