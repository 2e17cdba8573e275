# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.camera_model import PinholeCamera
from mrmllm_ros.datasets.rendered.image_effects import (
    EffectSettings,
    _motion_kernel,
    apply_effects,
    distort,
    draw_distortion,
)

RESOLUTION = (320, 240)
WIDE = np.radians(82)


@pytest.fixture
def camera():
    return PinholeCamera.looking((0, 0, 1), 0.0, 0.0, WIDE, RESOLUTION)


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (*RESOLUTION[::-1], 3), np.uint8)


class TestEffectSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("noise", -1.0),
            ("noise", float("nan")),
            ("noise", float("inf")),
            ("motion_blur", 1.1),
            ("motion_blur", -0.1),
            ("distortion", 0.5),
            ("distortion", float("nan")),
        ],
    )
    def test_a_value_outside_its_range_is_named(self, name, value):
        with pytest.raises(ValueError, match=f"{name.replace('_', ' ')} is .*; it must be from 0"):
            EffectSettings(**{name: value})


class TestApplyEffects:
    def test_equal_generators_give_equal_images(self, image):
        first, second = (
            apply_effects(image, EffectSettings(), np.random.default_rng(4)) for _ in range(2)
        )
        assert np.array_equal(first, second)
        assert first.dtype == np.uint8
        assert first.shape == image.shape

    def test_without_effects_only_exposure_changes(self, image):
        settings = EffectSettings(noise=0, motion_blur=0)
        changed = apply_effects(image, settings, np.random.default_rng(0)).astype(float)
        inner = (changed > 0) & (changed < 255)
        slope, offset = np.polyfit(image[inner], changed[inner], 1)
        assert 0.88 <= slope <= 1.08
        assert np.abs(image[inner] * slope + offset - changed[inner]).max() < 1

    def test_noise_has_at_most_its_deviation(self):
        gray = np.full((100, 100, 3), 128, np.uint8)
        for seed in range(5):
            settings = EffectSettings(noise=6, motion_blur=0)
            assert apply_effects(gray, settings, np.random.default_rng(seed)).std() < 6.2


class TestMotionKernel:
    @pytest.mark.parametrize("length", [2.0, 5.3, 9.0])
    @pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2, 3.1])
    def test_it_sums_to_one_and_is_centered(self, length, angle):
        kernel = _motion_kernel(length, angle)
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
        center = [(kernel.sum(axis=axis) * np.arange(9)).sum() for axis in (0, 1)]
        assert center == pytest.approx([4, 4], abs=0.6)

    def test_it_has_the_direction_of_the_movement(self):
        # Anti-aliasing leaves a little in the neighboring rows and columns.
        assert _motion_kernel(9.0, 0.0)[4].sum() > 0.6
        assert _motion_kernel(9.0, np.pi / 2)[:, 4].sum() > 0.6


class TestDistort:
    def test_zero_coefficients_leave_the_image(self, image, camera):
        assert distort(image, camera, np.zeros(5)) is image

    @pytest.mark.parametrize("k1", [-0.4, -0.2, 0.2, 0.4])
    def test_points_move_to_where_opencv_projects_them(self, camera, k1):
        coefficients = np.array([k1, -0.2 * k1, 0, 0, 0])
        rays = np.array([[x, y, 1.0] for x in (-0.7, 0, 0.5) for y in (-0.5, 0.1, 0.6)])
        straight = rays @ camera.matrix.T
        expected, _ = cv2.projectPoints(
            rays, np.zeros(3), np.zeros(3), camera.matrix, coefficients
        )
        for index, ((u, v, _), [target]) in enumerate(zip(straight, expected, strict=True), 1):
            if not (5 < target[0] < RESOLUTION[0] - 5 and 5 < target[1] < RESOLUTION[1] - 5):
                continue
            marked = np.zeros(RESOLUTION[::-1], np.int32)
            cv2.circle(marked, (round(u), round(v)), 3, index, -1)
            rows, columns = np.nonzero(distort(marked, camera, coefficients) == index)
            assert [columns.mean(), rows.mean()] == pytest.approx(target, abs=1.2)

    @pytest.mark.parametrize("k1", [-0.4, -0.35, 0.4])
    def test_every_pixel_comes_from_where_the_lens_takes_it(self, camera, k1):
        coefficients = np.array([k1, -0.2 * k1, 0, 0, 0])
        # Images of column and row numbers, which are not interpolated, show where pixels are from.
        numbers = np.meshgrid(*(np.arange(1.0, side + 1) for side in RESOLUTION))
        sources = np.stack([distort(each, camera, coefficients) for each in numbers], axis=-1)
        inside = (sources > 0).all(axis=2)
        assert inside.mean() > 0.3
        pixels = np.column_stack([sources[inside] - 1, np.ones(inside.sum())])
        rays = pixels @ np.linalg.inv(camera.matrix).T
        back, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), camera.matrix, coefficients)
        expected = np.stack(numbers, axis=-1)[inside] - 1
        assert np.linalg.norm(back[:, 0] - expected, axis=1).max() < 1.6

    def test_instances_and_depths_are_not_mixed(self, camera):
        coefficients = np.array([0.3, -0.06, 0, 0, 0])
        instances = np.zeros(RESOLUTION[::-1], np.int32)
        instances[:, ::2] = 1000
        distorted = distort(instances, camera, coefficients)
        assert distorted.dtype == np.int32
        assert set(np.unique(distorted)) <= {0, 1000}
        depth = distort(instances.astype(np.float32), camera, coefficients)
        assert set(np.unique(depth)) <= {0, 1000}

    def test_drawn_coefficients_are_within_the_limit(self):
        rng = np.random.default_rng(0)
        drawn = np.array([draw_distortion(EffectSettings(distortion=0.2), rng) for _ in range(50)])
        assert np.abs(drawn[:, 0]).max() <= 0.2
        assert drawn[:, 0].min() < 0 < drawn[:, 0].max()
        assert not draw_distortion(EffectSettings(), rng).any()
