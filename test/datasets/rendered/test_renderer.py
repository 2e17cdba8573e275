# SPDX-License-Identifier: Apache-2.0
import sys
from dataclasses import replace

import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.camera_model import PinholeCamera
from mrmllm_ros.datasets.rendered.ground_truth import VisibleObject, annotate
from mrmllm_ros.datasets.rendered.layout import PlacedObject
from mrmllm_ros.datasets.rendered.renderer import Drawable, Lighting, Renderer, RenderError
from mrmllm_ros.datasets.rendered.room_mesh import quad

WIDTH, HEIGHT = RESOLUTION = (320, 240)
FOV = np.radians(60)
FOCAL = WIDTH / 2 / np.tan(FOV / 2)
CUBE_M = (0.6, 0.4, 0.8)


@pytest.fixture(scope="module")
def camera():
    """Camera at the height of the center of the cube, looking along y."""
    return PinholeCamera.looking((0, 0, 0.4), np.pi / 2, 0.0, FOV, RESOLUTION)


@pytest.fixture(scope="module")
def make_cube(library):
    """Function that places the cube of the library with its base at a position."""
    model = next(each for each in library.models if each.title == "Cube")
    parts = library.mesh(model)

    def make(position=(0, 3, 0), yaw=0.0, scale=1.0, instance=1):
        placed = PlacedObject(model, np.array(position, float), yaw, scale)
        return Drawable(model.entry.key, parts, placed.transform, instance)

    return make


@pytest.fixture(scope="module")
def floor():
    """A gray floor."""
    part = quad((-5, 0, 0), (10, 0, 0), (0, 10, 0), None, color=(0.6, 0.6, 0.6))
    return Drawable("floor", [part], np.eye(4))


def light(direction=(0.0, 0.0, 1.0), ambient=0.3, color=0.7):
    return Lighting(
        ambient=np.full(3, ambient),
        direction=np.array(direction),
        color=np.full(3, color),
        points=np.zeros((0, 3)),
        point_colors=np.zeros((0, 3)),
    )


def bounds(mask):
    """Left, top, right, bottom of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def annotated(renderer, drawables, camera, instance):
    """Annotation of an instance."""
    surfaces = renderer.surfaces(drawables, camera)
    pixels = renderer.object_pixels([x for x in drawables if x.instance], camera)[instance]
    found = VisibleObject(
        instance=instance,
        noun="box",
        family="a box",
        model="Scopia/cube",
        visible=surfaces.instances == instance,
        own_pixels=pixels.inside,
        all_pixels=pixels.everywhere,
    )
    return annotate(found, np.zeros((HEIGHT, WIDTH, 3), np.uint8))


class TestSurfaces:
    def test_a_cube_has_the_size_and_depth_of_its_front(self, renderer, camera, make_cube):
        surfaces = renderer.surfaces([make_cube()], camera)
        left, top, right, bottom = bounds(surfaces.instances == 1)
        depth = 3 - CUBE_M[1] / 2
        assert right - left == pytest.approx(FOCAL * CUBE_M[0] / depth, abs=1)
        assert bottom - top == pytest.approx(FOCAL * CUBE_M[2] / depth, abs=1)
        assert (left + right) / 2 == pytest.approx(WIDTH / 2, abs=0.6)
        assert (top + bottom) / 2 == pytest.approx(HEIGHT / 2, abs=0.6)
        inside = surfaces.depth[surfaces.instances == 1]
        assert np.allclose(inside, depth, atol=1e-3)

    def test_nothing_has_depth_and_instance_0(self, renderer, camera, make_cube):
        empty = renderer.surfaces([], camera)
        assert not empty.depth.any()
        assert not empty.instances.any()
        assert empty.depth.shape == empty.instances.shape == (HEIGHT, WIDTH)
        surfaces = renderer.surfaces([make_cube()], camera)
        assert np.array_equal(surfaces.depth > 0, surfaces.instances > 0)

    def test_depth_gives_the_corners_of_a_turned_cube(self, renderer, make_cube):
        camera = PinholeCamera.looking((0.2, 0.3, 1.2), 1.4, -0.25, FOV, RESOLUTION)
        cube = make_cube((0.3, 2.5, 0), yaw=0.5)
        surfaces = renderer.surfaces([cube], camera)
        points = camera.points(surfaces.depth, surfaces.instances == 1)
        room = points @ camera.pose[:3, :3].T + camera.position
        local = (np.c_[room, np.ones(len(room))] @ np.linalg.inv(cube.transform).T)[:, :3]
        centered = np.abs(local - [0, 0, CUBE_M[2] / 2])
        half = np.array(CUBE_M) / 2
        # Every point is inside the cube and on one of its sides.
        assert (centered < half + 1e-3).all()
        assert (np.abs(centered - half).min(axis=1) < 1e-3).all()

    def test_pixels_project_as_the_camera_projects_points(self, renderer, make_cube):
        camera = PinholeCamera.looking((0.2, 0.3, 1.2), 1.4, -0.25, FOV, RESOLUTION)
        cube = make_cube((0.3, 2.5, 0), yaw=0.5)
        corners = np.concatenate([part.positions for part in cube.parts])
        room = corners @ cube.transform[:3, :3].T + cube.transform[:3, 3]
        u, v, _ = camera.project(room).T
        found = bounds(renderer.surfaces([cube], camera).instances == 1)
        assert found == pytest.approx((u.min(), v.min(), u.max() + 1, v.max() + 1), abs=1)

    def test_the_nearer_of_two_objects_is_seen(self, renderer, camera, make_cube):
        near, far = make_cube((0, 2, 0), instance=1), make_cube((0, 4, 0), instance=2)
        for order in ([near, far], [far, near]):
            surfaces = renderer.surfaces(order, camera)
            assert set(np.unique(surfaces.instances)) == {0, 1}

    def test_a_scaled_object_is_larger(self, renderer, camera, make_cube):
        one, half = (
            (renderer.surfaces([make_cube(scale=scale)], camera).instances == 1).sum()
            for scale in (1.0, 0.5)
        )
        assert half < one / 3


class TestObjectPixels:
    def test_a_free_object_has_its_visible_pixels(self, renderer, camera, make_cube):
        cube = make_cube()
        visible = int((renderer.surfaces([cube], camera).instances == 1).sum())
        pixels = renderer.object_pixels([cube], camera)[1]
        assert pixels.inside == pixels.everywhere
        assert pixels.inside == pytest.approx(visible, rel=0.02)

    def test_a_hidden_object_keeps_its_pixels(self, renderer, camera, make_cube):
        near, far = make_cube((0, 2, 0), instance=1), make_cube((0, 4, 0), instance=2)
        counted = renderer.object_pixels([near, far], camera)
        assert counted[2] == renderer.object_pixels([far], camera)[2]
        assert counted[1].inside > counted[2].inside > 0

    def test_a_half_hidden_object_has_half_its_occlusion(self, renderer, camera, make_cube):
        # The edge of the near cube is on the ray to the middle of the far one.
        near = make_cube((0.3, 2, 0), scale=1.0, instance=1)
        far = make_cube((0, 4, 0), instance=2)
        entry = annotated(renderer, [near, far], camera, 2)
        assert entry["occlusion"] == pytest.approx(0.5, abs=0.03)
        assert entry["truncation"] == 0
        assert annotated(renderer, [near, far], camera, 1)["occlusion"] == 0

    @pytest.mark.parametrize("side", [-1, 1])
    def test_an_object_at_the_edge_of_the_image_is_half_truncated(
        self, renderer, camera, make_cube, side
    ):
        # The middle of the front is at the edge; the side that faces the camera is thin.
        depth = 3 - CUBE_M[1] / 2
        cube = make_cube((side * WIDTH / 2 / FOCAL * depth, 3, 0))
        thin = Drawable("front", [x for x in cube.parts if x.texture is None], cube.transform, 1)
        entry = annotated(renderer, [thin], camera, 1)
        assert entry["truncation"] == pytest.approx(0.5, abs=0.02)
        assert entry["occlusion"] == pytest.approx(0, abs=0.02)
        assert entry["bbox"][0] == 0 if side < 0 else entry["bbox"][0] + entry["bbox"][2] == WIDTH

    def test_an_object_around_the_camera_is_counted(self, renderer, camera, make_cube):
        pixels = renderer.object_pixels([make_cube((0, 0, 0))], camera)[1]
        assert pixels.inside == WIDTH * HEIGHT

    def test_an_object_behind_the_camera_has_no_pixels(self, renderer, camera, make_cube):
        pixels = renderer.object_pixels([make_cube((0, -3, 0))], camera)[1]
        assert (pixels.inside, pixels.everywhere) == (0, 0)

    def test_without_objects_there_are_no_counts(self, renderer, camera):
        assert renderer.object_pixels([], camera) == {}


class TestColor:
    def test_the_front_is_red_and_the_top_is_green(self, renderer, make_cube):
        camera = PinholeCamera.looking((0, 0.5, 2), np.pi / 2, -0.6, FOV, RESOLUTION)
        cube = make_cube((0, 3, 0))
        image = renderer.color([cube], camera, light((0, -0.5, 1)), [cube]).astype(int)
        for point, channel in (((0, 2.8, 0.4), 2), ((0, 3, 0.8), 1)):
            [[u, v, _]] = camera.project(np.array([point], float))
            pixel = image[round(v), round(u)]
            assert pixel.argmax() == channel
            assert pixel[channel] > 2 * np.delete(pixel, channel).max()

    def test_equal_calls_give_equal_images(self, renderer, camera, make_cube, floor):
        drawables = [floor, make_cube()]
        first, second = (
            renderer.color(drawables, camera, light(), drawables[1:]) for _ in range(2)
        )
        assert first.tobytes() == second.tobytes()
        assert first.shape == (HEIGHT, WIDTH, 3)

    def test_a_light_makes_a_shadow(self, renderer, make_cube, floor):
        camera = PinholeCamera.looking((0, 0.2, 2.2), np.pi / 2, -0.6, FOV, RESOLUTION)
        cube = make_cube((0, 3, 0))
        # From the left and above: the shadow is to the right of the cube.
        lighting = light((-1, 0, 1))
        lit, shaded = (
            renderer.color([floor, cube], camera, lighting, casting).astype(int)
            for casting in ([], [cube])
        )
        u, v, _ = camera.project(np.array([[0.6, 3.0, 0.0], [-0.6, 3.0, 0.0]])).T.round()
        (right, left) = (lit - shaded)[v.astype(int), u.astype(int)].mean(axis=1)
        assert right > 40
        assert left == 0

    def test_without_lights_the_image_is_black(self, renderer, camera, make_cube):
        dark = light(ambient=0, color=0)
        assert renderer.color([make_cube()], camera, dark, []).max() == 0

    def test_a_lamp_lights_what_is_near_it(self, renderer, make_cube, floor):
        camera = PinholeCamera.looking((0, 0.2, 2.2), np.pi / 2, -0.6, FOV, RESOLUTION)
        lamp = Lighting(
            ambient=np.zeros(3),
            direction=np.array([0, 0, 1.0]),
            color=np.zeros(3),
            points=np.array([[1.0, 3.0, 0.5]]),
            point_colors=np.ones((1, 3)),
        )
        image = renderer.color([floor], camera, lamp, [])
        assert image[:, WIDTH // 2 :].mean() > 1.5 * image[:, : WIDTH // 2].mean()

    def test_glass_shows_what_is_behind_it(self, renderer, camera, make_cube):
        pane = quad((-1, 1, 0), (2, 0, 0), (0, 0, 2), None)
        glass = Drawable("glass", [replace(pane, opacity=0.2)], np.eye(4), 2)
        behind = renderer.color([make_cube(), glass], camera, light(), [])
        row, column = HEIGHT // 2, WIDTH // 2
        assert behind[row, column].argmax() == 2
        assert renderer.surfaces([make_cube(), glass], camera).instances[row, column] == 2


class TestMemory:
    def test_a_mesh_can_be_drawn_after_it_was_forgotten(self, renderer, camera, make_cube):
        cube = make_cube()
        before = renderer.surfaces([cube], camera)
        renderer.color([cube], camera, light(), [cube])
        renderer.forget([cube.key, "never drawn"])
        after = renderer.surfaces([cube], camera)
        assert np.array_equal(before.depth, after.depth)

    def test_a_second_renderer_leaves_the_first_alone(self, renderer, camera, make_cube):
        cube = make_cube()
        before = renderer.surfaces([cube], camera)
        other = Renderer((64, 48))
        small = PinholeCamera.looking((0, 0, 0.4), np.pi / 2, 0.0, FOV, (64, 48))
        assert other.surfaces([cube], small).depth.shape == (48, 64)
        after = renderer.surfaces([cube], camera)
        assert np.array_equal(before.depth, after.depth)
        assert np.array_equal(before.instances, after.instances)


class TestWithoutOpenGl:
    def test_a_missing_package_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "moderngl", None)
        with pytest.raises(RenderError, match="rendering needs moderngl; install it: pip install"):
            Renderer(RESOLUTION)

    def test_a_missing_driver_is_named(self, monkeypatch):
        moderngl = pytest.importorskip("moderngl")

        def fail(**_):
            raise Exception("no EGL")

        monkeypatch.setattr(moderngl, "create_context", fail)
        with pytest.raises(RenderError, match=r"no OpenGL 3\.3 through EGL: no EGL; .*apt-get"):
            Renderer(RESOLUTION)
