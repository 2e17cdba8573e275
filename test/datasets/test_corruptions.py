# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from mrmllm_ros.datasets.corruptions import CORRUPTIONS, SEVERITIES, corrupt

every_kind = pytest.mark.parametrize("kind", CORRUPTIONS)


@pytest.fixture(scope="module")
def image(bus_image):
    """The street, (480, 360, 3)."""
    return cv2.resize(bus_image, (360, 480), interpolation=cv2.INTER_AREA)


def difference(image, kind, severity, seed=0):
    """Mean difference of gray levels."""
    corrupted = corrupt(image, kind, severity, np.random.default_rng(seed))
    return np.abs(corrupted.astype(float) - image).mean()


@every_kind
@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_corruption_changes_the_image_and_keeps_its_shape(image, kind, severity):
    before = image.copy()
    corrupted = corrupt(image, kind, severity, np.random.default_rng(1))
    assert corrupted.shape == image.shape
    assert corrupted.dtype == np.uint8
    assert (image == before).all()
    assert difference(image, kind, severity) > 1


@every_kind
def test_images_differ_more_with_severity(image, kind):
    mild, clear, severe = (
        np.mean([difference(image, kind, severity, seed) for seed in range(4)])
        for severity in SEVERITIES
    )
    assert mild * 1.15 < clear
    assert clear * 1.15 < severe


@every_kind
def test_objects_stay_visible(image, kind):
    corrupted = corrupt(image, kind, 3, np.random.default_rng(2))
    assert np.corrcoef(corrupted.ravel(), image.ravel())[0, 1] > 0.3
    assert corrupted.std() > 4


@every_kind
def test_the_same_random_state_gives_the_same_image(image, kind):
    once, again = (corrupt(image, kind, 2, np.random.default_rng(3)) for _ in range(2))
    assert (once == again).all()


@every_kind
@pytest.mark.parametrize("shape", [(33, 65, 3), (8, 8, 3)])
def test_small_images_work(kind, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert corrupt(image, kind, 3, np.random.default_rng(4)).shape == shape


@pytest.mark.parametrize(("severity", "share"), [(1, 0.10), (2, 0.20), (3, 0.35)])
def test_an_occlusion_covers_its_share(severity, share):
    # Of noise, a part that is covered hardly keeps a pixel as it was.
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    for seed in range(5):
        corrupted = corrupt(image, "occlusion", severity, np.random.default_rng(seed))
        covered = (corrupted != image).any(axis=2).mean()
        assert covered == pytest.approx(share, abs=0.02)


def test_the_error_of_an_unknown_kind_lists_the_known_ones(image):
    with pytest.raises(ValueError, match="unknown corruption 'rain'; choose from blur, noise"):
        corrupt(image, "rain", 1, np.random.default_rng(0))


@pytest.mark.parametrize("severity", [0, 4])
def test_an_unknown_severity_is_rejected(image, severity):
    with pytest.raises(ValueError, match=f"severity is {severity}; choose 1, 2 or 3"):
        corrupt(image, "fog", severity, np.random.default_rng(0))
