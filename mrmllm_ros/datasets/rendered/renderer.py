# SPDX-License-Identifier: Apache-2.0
"""Render rooms with OpenGL: color, depth, and the object of each pixel.

Runs without a display through EGL, on a GPU or on Mesa's software renderer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mrmllm_ros.datasets.rendered.camera_model import PinholeCamera
from mrmllm_ros.datasets.rendered.furniture import MeshPart
from mrmllm_ros.errors import MrmllmError

_SHADERS = Path(__file__).parent / "shaders"
_NEAR, _FAR = 0.05, 60.0  # meters
_SAMPLES = 2  # color samples per pixel, across and down
_SHADOW_SIZE = 1024  # pixels
_MAX_LIGHTS = 4
_OPAQUE = 0.99


class RenderError(MrmllmError):
    """Rendering is impossible; the message names what is missing."""


@dataclass(frozen=True, eq=False)
class Drawable:
    """A mesh at a place.

    Attributes:
        key: Name of the mesh; meshes of one key are equal.
        parts: Triangles of the mesh.
        transform: (4, 4) from the mesh to the room.
        instance: Number in the instance image, above 0; 0 for the room.
    """

    key: str
    parts: Sequence[MeshPart]
    transform: np.ndarray
    instance: int = 0


@dataclass(frozen=True, eq=False)
class Lighting:
    """Lights of a room.

    Attributes:
        ambient: RGB of the light from above; from below comes less.
        direction: (3,) from the room to the light that casts shadows.
        color: RGB of that light.
        points: (N, 3) positions of at most four lamps in meters.
        point_colors: (N, 3) RGB of the lamps, at a distance of one meter.
        exposure: Factor of the brightness.
    """

    ambient: np.ndarray
    direction: np.ndarray
    color: np.ndarray
    points: np.ndarray
    point_colors: np.ndarray
    exposure: float = 1.0


@dataclass(frozen=True, eq=False)
class SurfaceImage:
    """The nearest surface at each pixel.

    Attributes:
        depth: (H, W) float32, meters along the optical axis; 0 for none.
        instances: (H, W) int32, instance of the surface.
    """

    depth: np.ndarray
    instances: np.ndarray


@dataclass(frozen=True)
class ObjectPixels:
    """Number of pixels of an object without other objects.

    Attributes:
        inside: Pixels inside the image.
        everywhere: The same with pixels up to half an image around it.
    """

    inside: int
    everywhere: int


@dataclass
class _GpuPart:
    part: MeshPart
    buffer: Any
    arrays: dict[str, Any] = field(default_factory=dict)
    texture: Any = None


class Renderer:
    """Renders images of one size.

    Meshes stay in graphics memory, so one renderer should render many scenes. A process can have
    several renderers.
    """

    def __init__(self, resolution_wh: tuple[int, int]) -> None:
        """Create an OpenGL context.

        Args:
            resolution_wh: Width and height of the images in pixels.

        Raises:
            RenderError: If there is no OpenGL 3.3 through EGL.
        """
        self._context = _create_context()
        self._resolution_wh = resolution_wh
        self._parts: dict[str, list[_GpuPart]] = {}
        width, height = resolution_wh
        size = (width * _SAMPLES, height * _SAMPLES)
        context = self._context
        self._color = context.framebuffer(
            [context.texture(size, 4, dtype="f1")], context.depth_renderbuffer(size)
        )
        self._truth = context.framebuffer(
            [
                context.texture(resolution_wh, 1, dtype="i4"),
                context.texture(resolution_wh, 1, dtype="f4"),
            ],
            context.depth_renderbuffer(resolution_wh),
        )
        wide = (2 * width, 2 * height)
        self._alone = context.framebuffer([context.texture(wide, 1, dtype="f1")])
        self._shadow_map = context.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
        self._shadow_map.compare_func = ""
        self._shadow = context.framebuffer(depth_attachment=self._shadow_map)
        names = ("color", "truth", "alone", "shadow")
        self._programs = {name: _program(context, name) for name in names}
        self._white = context.texture((1, 1), 3, b"\xff\xff\xff")

    @property
    def resolution_wh(self) -> tuple[int, int]:
        """Width and height of the images in pixels."""
        return self._resolution_wh

    def surfaces(self, drawables: Sequence[Drawable], camera: PinholeCamera) -> SurfaceImage:
        """Render depth and instances.

        Args:
            drawables: The room and the things in it.
            camera: Camera with the renderer's resolution.
        """
        with self._context:
            self._truth.use()
            self._truth.clear(depth=1.0)
            self._context.enable_only(self._context.DEPTH_TEST)
            self._write_camera("truth", _projection(camera), camera)
            for drawable in drawables:
                self._draw("truth", drawable)
            return SurfaceImage(
                depth=self._read(self._truth, 1, np.float32),
                instances=self._read(self._truth, 0, np.int32),
            )

    def color(
        self,
        drawables: Sequence[Drawable],
        camera: PinholeCamera,
        lighting: Lighting,
        casts_shadow: Sequence[Drawable],
    ) -> np.ndarray:
        """Render the color image.

        Args:
            drawables: The room and the things in it.
            camera: Camera with the renderer's resolution.
            lighting: Lights.
            casts_shadow: Those of `drawables` that cast shadows.

        Returns:
            (H, W, 3) uint8 in BGR order.
        """
        context, program = self._context, self._programs["color"]
        with self._context:
            shadow = self._render_shadows(casts_shadow, lighting)
            self._color.use()
            self._color.clear(0.0, 0.0, 0.0, 1.0, depth=1.0)
            context.enable_only(context.DEPTH_TEST | context.BLEND)
            context.blend_func = context.SRC_ALPHA, context.ONE_MINUS_SRC_ALPHA
            self._write_camera("color", _projection(camera), camera)
            program["shadow_projection"].write(_gl(shadow))
            program["eye"].value = tuple(camera.position)
            _set_lighting(program, lighting)
            self._shadow_map.use(1)
            program["shadow_map"].value = 1
            program["surface"].value = 0
            for drawable in drawables:
                self._draw("color", drawable, min_opacity=_OPAQUE)
            for drawable in drawables:
                self._draw("color", drawable, max_opacity=_OPAQUE)
            data = self._color.read(components=3)
        width, height = self._color.size
        pixels = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        rgb = cv2.resize(pixels, self._resolution_wh, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(rgb[..., ::-1])

    def object_pixels(
        self, drawables: Sequence[Drawable], camera: PinholeCamera
    ) -> dict[int, ObjectPixels]:
        """Count the pixels of each object without other objects, by instance.

        Args:
            drawables: Objects with different instances.
            camera: Camera with the renderer's resolution.
        """
        with self._context:
            return self._count_pixels(drawables, camera)

    def _count_pixels(
        self, drawables: Sequence[Drawable], camera: PinholeCamera
    ) -> dict[int, ObjectPixels]:
        width, height = self._resolution_wh
        self._alone.use()
        self._context.enable_only(0)
        # The image is the middle of a view of twice its width and height.
        self._write_camera("alone", np.diag([0.5, 0.5, 1, 1]) @ _projection(camera), camera)
        counts = {}
        for drawable in drawables:
            self._alone.clear()
            self._draw("alone", drawable)
            left, top, right, bottom = _extent(drawable, camera)
            size = (right - left, bottom - top)
            data = self._alone.read(viewport=(left, top, *size), components=1, alignment=1)
            covered = np.frombuffer(data, np.uint8).reshape(size[::-1]) > 0
            rows = slice(max(height // 2 - top, 0), max(height // 2 + height - top, 0))
            columns = slice(max(width // 2 - left, 0), max(width // 2 + width - left, 0))
            inside = int(np.count_nonzero(covered[rows, columns]))
            counts[drawable.instance] = ObjectPixels(inside, int(np.count_nonzero(covered)))
        return counts

    def forget(self, keys: Sequence[str]) -> None:
        """Free the meshes of keys, such as those of one room."""
        with self._context:
            for key in keys:
                for each in self._parts.pop(key, ()):
                    for resource in (*each.arrays.values(), each.buffer, each.texture):
                        if resource is not None and resource is not self._white:
                            resource.release()

    def _render_shadows(self, drawables: Sequence[Drawable], lighting: Lighting) -> np.ndarray:
        matrix = _shadow_matrix(drawables, lighting.direction)
        self._shadow.use()
        self._shadow.clear(depth=1.0)
        self._context.enable_only(self._context.DEPTH_TEST)
        program = self._programs["shadow"]
        program["view_projection"].write(_gl(matrix))
        for drawable in drawables:
            self._draw("shadow", drawable, min_opacity=0.6)
        return matrix

    def _read(self, framebuffer: Any, attachment: int, dtype: type) -> np.ndarray:
        name = "i4" if dtype is np.int32 else "f4"
        data = framebuffer.read(components=1, attachment=attachment, dtype=name)
        return np.frombuffer(data, dtype).reshape(framebuffer.size[::-1]).copy()

    def _write_camera(self, program: str, projection: np.ndarray, camera: PinholeCamera) -> None:
        matrix = projection @ camera.room_to_optical
        self._programs[program]["view_projection"].write(_gl(matrix))

    def _draw(
        self,
        name: str,
        drawable: Drawable,
        min_opacity: float = 0.0,
        max_opacity: float = np.inf,
    ) -> None:
        program = self._programs[name]
        program["model"].write(_gl(drawable.transform))
        if name == "truth":
            program["instance"].value = drawable.instance
        for each in self._uploaded(drawable):
            part = each.part
            if not min_opacity <= part.opacity < max_opacity:
                continue
            if name == "color":
                each.texture.use(0)
                program["albedo"].value = part.color
                program["opacity"].value = part.opacity
                program["shininess"].value = part.shininess
            if name not in each.arrays:
                layout = "3f 3f 2f" if name == "color" else "3f 20x"
                names = (
                    ("in_position", "in_normal", "in_uv") if name == "color" else ("in_position",)
                )
                each.arrays[name] = self._context.vertex_array(
                    program, [(each.buffer, layout, *names)]
                )
            each.arrays[name].render()

    def _uploaded(self, drawable: Drawable) -> list[_GpuPart]:
        if drawable.key not in self._parts:
            self._parts[drawable.key] = [self._upload(part) for part in drawable.parts]
        return self._parts[drawable.key]

    def _upload(self, part: MeshPart) -> _GpuPart:
        vertices = np.concatenate([part.positions, part.normals, part.uv], axis=1)
        buffer = self._context.buffer(vertices.astype("f4").tobytes())
        texture = self._white
        if part.texture is not None:
            height, width = part.texture.shape[:2]
            # Rows from below, as OBJ's texture coordinates count.
            pixels = np.ascontiguousarray(part.texture[::-1])
            texture = self._context.texture((width, height), 3, pixels.tobytes(), alignment=1)
            texture.build_mipmaps()
        return _GpuPart(part, buffer, texture=texture)


def _create_context() -> Any:
    try:
        import moderngl
    except ImportError as error:
        raise RenderError(
            "rendering needs moderngl; install it: pip install moderngl trimesh"
        ) from error
    try:
        return moderngl.create_context(standalone=True, backend="egl", require=330)
    except Exception as error:
        # moderngl and glcontext raise plain exceptions.
        raise RenderError(
            f"no OpenGL 3.3 through EGL: {error}; on Debian and Ubuntu: "
            "sudo apt-get install libegl1 libgl1-mesa-dri"
        ) from error


@cache
def _source(name: str) -> str:
    return (_SHADERS / name).read_text(encoding="utf-8")


def _program(context: Any, name: str) -> Any:
    vertex = "color.vert" if name == "color" else "position.vert"
    return context.program(vertex_shader=_source(vertex), fragment_shader=_source(f"{name}.frag"))


def _set_lighting(program: Any, lighting: Lighting) -> None:
    count = len(lighting.points)
    padding = np.zeros((_MAX_LIGHTS - count, 3))
    program["ambient"].value = tuple(lighting.ambient)
    program["main_direction"].value = tuple(
        lighting.direction / np.linalg.norm(lighting.direction)
    )
    program["main_color"].value = tuple(lighting.color)
    program["lamp_positions"].write(_floats(np.concatenate([lighting.points, padding])))
    program["lamp_colors"].write(_floats(np.concatenate([lighting.point_colors, padding])))
    program["exposure"].value = lighting.exposure


def _projection(camera: PinholeCamera) -> np.ndarray:
    """(4, 4) from the optical frame to clip coordinates, with the first row of pixels first."""
    (width, height), matrix = camera.resolution_wh, camera.matrix
    # OpenGL's pixel centers have coordinates of one half.
    return np.array(
        [
            [2 * matrix[0, 0] / width, 0, (2 * matrix[0, 2] + 1) / width - 1, 0],
            [0, 2 * matrix[1, 1] / height, (2 * matrix[1, 2] + 1) / height - 1, 0],
            [0, 0, (_FAR + _NEAR) / (_FAR - _NEAR), -2 * _FAR * _NEAR / (_FAR - _NEAR)],
            [0, 0, 1, 0],
        ]
    )


def _shadow_matrix(drawables: Sequence[Drawable], direction: np.ndarray) -> np.ndarray:
    """(4, 4) orthographic projection along a light around all objects."""
    toward = direction / np.linalg.norm(direction)
    right = np.cross([0.0, 1.0, 0.0], toward)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(toward, right), -toward])
    corners = np.concatenate([_corners(each) for each in drawables] or [np.zeros((1, 3))]) @ axes.T
    low, high = corners.min(axis=0) - 0.05, corners.max(axis=0) + 0.05
    matrix = np.eye(4)
    matrix[:3, :3] = axes * (2 / (high - low))[:, None]
    matrix[:3, 3] = -(high + low) / (high - low)
    return matrix


def _corners(drawable: Drawable) -> np.ndarray:
    """(8, 3) corners of the box around a mesh, in the room."""
    low = np.min([part.positions.min(axis=0) for part in drawable.parts], axis=0)
    high = np.max([part.positions.max(axis=0) for part in drawable.parts], axis=0)
    grid = np.array(np.meshgrid(*np.stack([low, high], axis=1))).reshape(3, -1).T
    return grid @ drawable.transform[:3, :3].T + drawable.transform[:3, 3]


def _extent(drawable: Drawable, camera: PinholeCamera) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mesh in the view of twice the image's width and height."""
    width, height = camera.resolution_wh
    points = camera.project(_corners(drawable))
    if points[:, 2].min() < _NEAR:
        return 0, 0, 2 * width, 2 * height
    limits = np.array([2 * width, 2 * height])
    corner = np.array([width // 2, height // 2])
    low = (np.floor(points[:, :2].min(axis=0)).astype(int) + corner - 1).clip(0, limits - 1)
    high = (np.ceil(points[:, :2].max(axis=0)).astype(int) + corner + 2).clip(low + 1, limits)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _floats(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, np.float32).tobytes()


def _gl(matrix: np.ndarray) -> bytes:
    # OpenGL stores matrices by columns.
    return _floats(matrix.T)
