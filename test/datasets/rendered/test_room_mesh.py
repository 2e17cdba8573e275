# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.room_mesh import pane, quad, room_parts

SIZE = (4.0, 3.0, 2.5)
TEXTURE = np.zeros((8, 8, 3), np.uint8)


def test_a_room_is_closed_and_its_sides_face_inward():
    parts = room_parts(SIZE, TEXTURE, TEXTURE)
    corners = np.concatenate([part.positions for part in parts])
    assert np.allclose(corners.min(axis=0), 0)
    assert np.allclose(corners.max(axis=0), SIZE)
    faced = {tuple(part.normals[0].astype(int)) for part in parts}
    assert faced == {(0, 0, 1), (0, 0, -1), (0, -1, 0), (0, 1, 0), (1, 0, 0), (-1, 0, 0)}
    for part in parts:
        to_middle = np.array(SIZE) / 2 - part.positions
        assert ((to_middle * part.normals).sum(axis=1) > 0).all()


def test_textures_of_a_room_repeat_with_their_size():
    floor, _, wall, *_ = room_parts(SIZE, TEXTURE, TEXTURE)
    assert floor.uv.max(axis=0) == pytest.approx([4.0 / 2.4, 3.0 / 2.4])
    assert wall.uv.max(axis=0) == pytest.approx([4.0 / 2.4, 2.5 / 2.4])


def test_the_corner_of_a_rectangle_is_that_of_its_texture():
    part = quad((1, 2, 3), (2, 0, 0), (0, 0, 1), TEXTURE)
    assert np.allclose(part.positions[(part.uv == 0).all(axis=1)], (1, 2, 3))
    assert np.allclose(part.positions[(part.uv == 1).all(axis=1)], (3, 2, 4))


def test_a_pane_is_within_its_window_and_faces_the_room():
    part = pane((1.2, 0.1, 1.0), TEXTURE)
    low, high = part.positions.min(axis=0), part.positions.max(axis=0)
    assert (low[[0, 2]] > (-0.6, 0)).all()
    assert (high[[0, 2]] < (0.6, 1)).all()
    assert -0.05 < low[1] == high[1] < 0.05
    assert np.allclose(part.normals, (0, -1, 0))
