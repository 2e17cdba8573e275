# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.camera_model import PinholeCamera
from mrmllm_ros.datasets.rendered.layout import Layout, PlacedObject
from mrmllm_ros.datasets.rendered.places import Item, Place
from mrmllm_ros.datasets.rendered.viewpoints import moved, viewpoints

RESOLUTION = (320, 240)
PLACE = Place(
    name="office",
    room=((6, 6), (5, 5), (3, 3)),
    camera_height=(0.4, 1.2),
    camera_pitch=(-20, 0),
    items=(Item(nouns={"box": 1}),),
)


@pytest.fixture
def layout(make_model):
    model = make_model("box", size=(0.6, 0.6, 1.5))
    positions = [(1, 1, 0), (2, 1, 0), (1, 2, 0), (5, 4, 0)]
    return Layout(
        (6, 5, 3), [PlacedObject(model, np.array(each, float), 0.0) for each in positions]
    )


def in_view(layout, camera):
    """Number of objects whose centers are in the image, up to six meters away."""
    centers = np.array([each.bounds.mean(axis=0) for each in layout.objects])
    u, v, z = camera.project(centers).T
    inside = (u >= 0) & (u < RESOLUTION[0]) & (v >= 0) & (v < RESOLUTION[1])
    return int((inside & (z > 0.9) & (z < 6)).sum())


def test_cameras_keep_away_from_walls_and_objects(layout):
    for seed in range(10):
        for camera in viewpoints(layout, PLACE, RESOLUTION, np.random.default_rng(seed)):
            x, y, z = camera.position
            assert 0.5 <= x <= 5.5
            assert 0.5 <= y <= 4.5
            assert 0.4 <= z <= 1.2
            for each in layout.objects:
                low, high = each.bounds
                assert not ((camera.position > low) & (camera.position < high)).all()
                outside = np.maximum(low - camera.position, camera.position - high)
                assert outside.max() >= 0.5


def test_cameras_with_the_most_objects_in_view_come_first(layout):
    cameras = viewpoints(layout, PLACE, RESOLUTION, np.random.default_rng(0))
    counts = [in_view(layout, camera) for camera in cameras]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] >= 2


def test_pitch_and_field_of_view_are_within_their_ranges(layout):
    for camera in viewpoints(layout, PLACE, RESOLUTION, np.random.default_rng(0)):
        pitch = np.degrees(np.arcsin(camera.pose[2, 2]))
        assert -20 <= pitch <= 0
        fov = np.degrees(2 * np.arctan(RESOLUTION[0] / 2 / camera.matrix[0, 0]))
        assert 58 <= fov <= 82


def test_an_empty_room_has_cameras():
    empty = Layout((6, 5, 3))
    assert viewpoints(empty, PLACE, RESOLUTION, np.random.default_rng(0))


def test_a_room_without_space_has_none(make_model):
    full = PlacedObject(make_model("box", size=(5.8, 4.8, 2)), np.array([3, 2.5, 0]), 0.0)
    assert viewpoints(Layout((6, 5, 3), [full]), PLACE, RESOLUTION, np.random.default_rng(0)) == []


class TestMoved:
    @pytest.fixture
    def camera(self):
        return PinholeCamera.looking((1, 2, 1), 0.4, -0.2, 1.2, RESOLUTION)

    def test_the_first_frame_is_the_camera(self, camera):
        assert np.array_equal(moved(camera, 0).pose, camera.pose)

    def test_it_moves_to_the_right_and_turns_to_the_left(self, camera):
        later = moved(camera, 2)
        step = camera.pose[:3, :3].T @ (later.position - camera.position)
        assert step == pytest.approx([0.12, 0, 0])
        turn = camera.pose[:3, :3].T @ later.pose[:3, 2]
        assert turn[0] < 0
        assert np.allclose(later.pose[:3, :3].T @ later.pose[:3, :3], np.eye(3))
        assert later.position[2] == camera.position[2]
        assert later.pose[2, 2] == pytest.approx(camera.pose[2, 2])
