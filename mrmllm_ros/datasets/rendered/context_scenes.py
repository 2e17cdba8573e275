# SPDX-License-Identifier: Apache-2.0
"""Pairs of scenes in which the same small picture is another object, because the place differs.

A plain shape is rendered once, scaled to a few pixels, blurred, and pasted onto a table in two
rooms of different kinds. The pixels of the shape are equal in both images; its label follows from
the place alone (`context.yaml`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice, product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from mrmllm_ros.datasets.rendered.camera_model import PinholeCamera
from mrmllm_ros.datasets.rendered.furniture import MeshPart
from mrmllm_ros.datasets.rendered.ground_truth import VisibleObject, annotate
from mrmllm_ros.datasets.rendered.image_effects import EffectSettings, apply_effects
from mrmllm_ros.datasets.rendered.model_map import Split
from mrmllm_ros.datasets.rendered.places import Place, places
from mrmllm_ros.datasets.rendered.renderer import (
    Drawable,
    Lighting,
    RenderError,
    SurfaceImage,
)
from mrmllm_ros.datasets.rendered.scene_renderer import Frame, RoomView, SceneRenderer

_PAIR, _EFFECTS = 10, 11  # streams of random numbers
_HEIGHTS = (14, 44)  # pixels
_SCALES = (0.75, 1.5)  # of the usual size of a shape
_SPOTS = 40  # points tried on each object that carries things
_VIEWS = 3  # of each place
_PAIRS = 200  # of spots tried for two views
_IN_FRONT_M = 0.05


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape with its labels.

    Attributes:
        name: Name of the shape.
        mesh: Kind of its mesh.
        size: Usual width and height in meters.
        labels: Label in each place.
    """

    name: str
    mesh: str
    size: tuple[float, float]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Spot:
    """A visible point on top of an object.

    Attributes:
        u: Column in pixels.
        v: Row in pixels.
        depth: Meters along the optical axis.
        scale: Pixels for each meter at this depth.
    """

    u: float
    v: float
    depth: float
    scale: float


_ViewSpots = tuple[RoomView, list[Spot]]


@cache
def shapes(split: Split) -> tuple[Shape, ...]:
    """Shapes with the labels of a split; tuning has those of training."""
    part = "evaluation" if split == "evaluation" else "train"
    return tuple(
        Shape(name=name, mesh=values["mesh"], size=tuple(values["size"]), labels=values[part])
        for name, values in _content()["shapes"].items()
    )


def context_labels() -> frozenset[str]:
    """Labels of all shapes in all splits."""
    return frozenset(
        label
        for split in ("train", "evaluation")
        for shape in shapes(split)
        for label in shape.labels.values()
    )


class ContextScenes:
    """Makes pairs of scenes."""

    def __init__(self, rooms: SceneRenderer, split: Split, effects: EffectSettings) -> None:
        """Create the source.

        Args:
            rooms: Renderer of the rooms of the split.
            split: Split of shapes and rooms.
            effects: Effects of the camera.
        """
        self._rooms = rooms
        self._split = split
        self._effects = effects
        self._renderer = rooms.renderer

    def frames(self, number: int) -> list[Frame]:
        """Render the pair of a number: two images of different places.

        Args:
            number: Number of the pair, from 0.

        Raises:
            RenderError: If no room has a visible free place on a table.
        """
        rng = self._rooms.rng(number, _PAIR)
        known = shapes(self._split)
        shape = known[number % len(known)]
        chosen = rng.choice(sorted(shape.labels), 2, replace=False).tolist()
        views, spots, height = self._find_spots(number, chosen, shape, rng)
        picture, alpha = self._picture(shape, height, rng)
        return [
            self._frame(number, side, view, _Pasted(shape, spot, picture, alpha))
            for side, (view, spot) in enumerate(zip(views, spots, strict=True))
        ]

    def _frame(self, number: int, side: int, view: RoomView, pasted: _Pasted) -> Frame:
        rng = self._rooms.rng(number, _EFFECTS + side)
        covered = pasted.cover(view)
        frame = self._rooms.annotated(covered, np.zeros(5))
        self._renderer.forget(view.room.own_meshes)
        image = pasted.paste(apply_effects(frame.image, self._effects, rng))
        place = view.room.place.name
        context = str(rng.choice(_content()["contexts"][place]))
        return replace(
            frame,
            image=image,
            entry={**frame.entry, "context": context, "pair": number},
            objects=[*frame.objects, pasted.annotation(covered, image)],
        )

    def _find_spots(
        self, number: int, chosen: Sequence[str], shape: Shape, rng: np.random.Generator
    ) -> tuple[tuple[RoomView, RoomView], tuple[Spot, Spot], int]:
        """Views of two places, a spot in each, and a height in pixels that suits both."""
        for (first, of_first), (second, of_second) in self._view_pairs(number, chosen):
            pairs = [(a, b) for a in of_first for b in of_second]
            for index in rng.permutation(len(pairs))[:_PAIRS].tolist():
                spots = pairs[index]
                height = _common_height(shape, spots, rng)
                clear = height and all(
                    _is_clear(view, spot, shape, height)
                    for view, spot in zip((first, second), spots, strict=True)
                )
                if clear:
                    return (first, second), spots, height
        raise RenderError(f"pair {number} has no free places of a common size; use another seed")

    def _view_pairs(
        self, number: int, chosen: Sequence[str]
    ) -> Iterator[tuple[_ViewSpots, _ViewSpots]]:
        """Pairs of views with visible spots on tables; later pairs are of other rooms."""
        sides = [self._views(number, side, name) for side, name in enumerate(chosen)]
        while True:
            # Views of later rooms are rendered only if none of the first ones fit.
            candidates = [list(islice(side, _VIEWS)) for side in sides]
            if not all(candidates):
                return
            yield from product(*candidates)

    def _views(self, number: int, side: int, name: str) -> Iterator[_ViewSpots]:
        """Views of a place that show enough, with visible spots on tables."""
        place = _place(self._split, name)
        scene = 2 * number + side
        for _, view in self._rooms.views(scene, place):
            spots = _visible_spots(view, self._rooms.rng(scene, _PAIR, 1))
            if spots and view.shows_enough:
                yield view, spots

    def _picture(
        self, shape: Shape, height: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Blurred picture of a shape: (h, w, 3) float32 BGR and (h, w) float32 opacity."""
        gray = float(rng.uniform(0.25, 0.8))
        tint = rng.uniform(0.85, 1.15, 3)
        part = _mesh(shape, tuple((gray * tint).clip(0, 1).tolist()))
        drawable = Drawable(f"shape {shape.name}", [part], np.eye(4), 1)
        extent = max(shape.size)
        camera = PinholeCamera.looking(
            (0.0, -6 * extent, 1.6 * extent + shape.size[1] / 2),
            np.pi / 2,
            float(-np.arctan2(1.6, 6)),
            0.35,
            self._renderer.resolution_wh,
        )
        lighting = Lighting(
            ambient=np.full(3, 0.5),
            direction=np.array([rng.uniform(-1, 1), -0.6, 1.0]),
            color=np.full(3, 0.6),
            points=np.zeros((0, 3)),
            point_colors=np.zeros((0, 3)),
        )
        image = self._renderer.color([drawable], camera, lighting, [])
        mask = self._renderer.surfaces([drawable], camera).instances > 0
        self._renderer.forget([drawable.key])
        left, top, width, whole = cv2.boundingRect(mask.astype(np.uint8))
        region = slice(top, top + whole), slice(left, left + width)
        size = (max(round(width * height / whole), 3), height)
        picture = cv2.resize(image[region], size, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(mask[region].astype(np.float32), size, interpolation=cv2.INTER_AREA)
        blur = float(rng.uniform(0.5, 1.3))
        return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), blur), alpha


@cache
def _content() -> Mapping[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("context.yaml").read_text("utf-8"))


def _place(split: Split, name: str) -> Place:
    return next(each for each in places(split) if each.name == name)


def _visible_spots(view: RoomView, rng: np.random.Generator) -> list[Spot]:
    """Visible points on top of the objects that carry things."""
    spots = []
    width, height = view.camera.resolution_wh
    for index, placed in enumerate(view.room.layout.objects):
        if not placed.model.entry.carries:
            continue
        local = rng.uniform(-0.42, 0.42, (_SPOTS, 2)) * placed.size[:2]
        heights = np.full((_SPOTS, 1), placed.top - placed.position[2])
        points = np.concatenate([local / placed.scale, heights / placed.scale], axis=1)
        points = points @ placed.transform[:3, :3].T + placed.transform[:3, 3]
        for u, v, z in view.camera.project(points):
            if not (z > 0.6 and 30 < u < width - 30 and 50 < v < height - 2):
                continue
            row, column = int(v), int(u)
            seen = view.surfaces.instances[row, column] == index + 1
            if seen and abs(view.surfaces.depth[row, column] - z) < 0.03:
                spots.append(Spot(u, v, z, view.camera.matrix[1, 1] / z))
    return spots


def _common_height(shape: Shape, spots: Sequence[Spot], rng: np.random.Generator) -> int | None:
    """Height in pixels at which a shape has about its usual size at each spot."""
    usual = [spot.scale * shape.size[1] for spot in spots]
    # Flat shapes are as wide as others are high.
    flat = min(shape.size[1] / shape.size[0], 1.0)
    low = max(_HEIGHTS[0] * flat, max(usual) * _SCALES[0])
    high = min(_HEIGHTS[1] * flat, min(usual) * _SCALES[1])
    return max(round(float(rng.uniform(low, high))), 3) if low <= high else None


def _is_clear(view: RoomView, spot: Spot, shape: Shape, height: int) -> bool:
    """Whether the picture is inside the image and nothing is in front of it."""
    width = round(height * shape.size[0] / shape.size[1])
    left, bottom = round(spot.u) - width // 2 - 1, round(spot.v) + 1
    top, right = bottom - height - 2, left + width + 2
    resolution = view.camera.resolution_wh
    if left < 0 or top < 0 or right > resolution[0] or bottom > resolution[1]:
        return False
    return bool((view.surfaces.depth[top:bottom, left:right] > spot.depth - _IN_FRONT_M).all())


@dataclass(frozen=True, eq=False)
class _Pasted:
    """Picture of a shape at a spot of an image.

    Attributes:
        shape: The shape.
        spot: Where its base stands.
        picture: (h, w, 3) float32 BGR.
        alpha: (h, w) float32 opacity.
    """

    shape: Shape
    spot: Spot
    picture: np.ndarray
    alpha: np.ndarray

    def paste(self, image: np.ndarray) -> np.ndarray:
        """Copy of an (H, W, 3) uint8 image with the picture."""
        image = image.copy()
        opacity = self.alpha[..., None]
        image[self._region] = self.picture * opacity + image[self._region] * (1 - opacity)
        return image

    def cover(self, view: RoomView) -> RoomView:
        """The view with the shape as another instance."""
        mask = self._mask(view)
        surfaces = SurfaceImage(
            depth=np.where(mask, np.float32(self.spot.depth), view.surfaces.depth),
            instances=np.where(mask, self._instance(view), view.surfaces.instances),
        )
        return replace(view, surfaces=surfaces)

    def annotation(self, view: RoomView, image: np.ndarray) -> dict[str, Any]:
        """Annotation of the shape in a view with it."""
        mask = self._mask(view)
        pixels = int(mask.sum())
        found = VisibleObject(
            instance=self._instance(view),
            noun=self.shape.labels[view.room.place.name],
            family=self.shape.name,
            model=f"shape/{self.shape.name}",
            visible=mask,
            own_pixels=pixels,
            all_pixels=pixels,
        )
        points = view.camera.points(view.surfaces.depth, mask)
        return {"noun": found.noun, **annotate(found, image, points), "ambiguous": 1}

    @property
    def _region(self) -> tuple[slice, slice]:
        height, width = self.alpha.shape
        bottom, left = round(self.spot.v) + 1, round(self.spot.u) - width // 2
        return slice(bottom - height, bottom), slice(left, left + width)

    def _mask(self, view: RoomView) -> np.ndarray:
        mask = np.zeros(view.surfaces.instances.shape, bool)
        mask[self._region] = self.alpha > 0.5
        return mask

    @staticmethod
    def _instance(view: RoomView) -> int:
        return len(view.room.layout.objects) + 1


def _mesh(shape: Shape, color: tuple[float, float, float]) -> MeshPart:
    """Triangles of a shape that stands at the origin."""
    from trimesh import creation
    from trimesh.transformations import rotation_matrix
    from trimesh.util import concatenate

    width, height = shape.size
    if shape.mesh == "sphere":
        mesh = creation.icosphere(subdivisions=3, radius=width / 2)
    elif shape.mesh == "cone":
        mesh = creation.cone(width / 2, height)
    elif shape.mesh == "box":
        mesh = creation.box((width, width * 0.6, height))
    elif shape.mesh == "stick":
        mesh = creation.cylinder(height / 2, width)
        mesh.apply_transform(rotation_matrix(np.pi / 2, (0, 1, 0)))
    elif shape.mesh == "bottle":
        body = creation.cylinder(width / 2, height * 0.7)
        neck = creation.cylinder(width / 5, height * 0.3)
        neck.apply_translation((0, 0, height * 0.5))
        mesh = concatenate([body, neck])
    else:
        mesh = creation.cylinder(width / 2, height)
    vertices = mesh.vertices - (0, 0, mesh.bounds[0, 2])
    smooth = shape.mesh == "sphere"
    normals = mesh.vertex_normals[mesh.faces] if smooth else np.repeat(mesh.face_normals, 3, 0)
    corners = vertices[mesh.faces].reshape(-1, 3)
    return MeshPart(
        positions=corners.astype(np.float32),
        normals=normals.reshape(-1, 3).astype(np.float32),
        uv=np.zeros((len(corners), 2), np.float32),
        color=color,
    )
