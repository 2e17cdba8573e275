# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.model_map import SPLITS
from mrmllm_ros.datasets.rendered.surfaces import draw_surface, surfaces

ALL = [
    pytest.param(surface, id=surface.name)
    for kind in ("floors", "walls")
    for split in SPLITS
    for surface in surfaces(kind, split)
]


@pytest.mark.parametrize("kind", ["floors", "walls"])
@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_several(kind, split):
    assert len(surfaces(kind, split)) >= 3


@pytest.mark.parametrize("surface", ALL)
def test_a_texture_has_the_colors_of_its_surface(surface):
    texture = draw_surface(surface, np.random.default_rng(0))
    assert texture.shape == (512, 512, 3)
    assert texture.dtype == np.uint8
    colors = np.array(surface.colors)
    mean = texture.mean(axis=(0, 1))
    assert (mean > colors.min(axis=0) - 30).all()
    assert (mean < colors.max(axis=0) + 30).all()


@pytest.mark.parametrize("surface", ALL[::5])
def test_equal_generators_draw_equal_textures(surface):
    first, second = (draw_surface(surface, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first, second)
