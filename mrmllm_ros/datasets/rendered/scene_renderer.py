# SPDX-License-Identifier: Apache-2.0
"""Make scenes: furnish a room, light it, choose a camera, render and annotate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mrmllm_ros.datasets.rendered.camera_model import PinholeCamera
from mrmllm_ros.datasets.rendered.furniture import FurnitureLibrary, FurnitureModel, MeshPart
from mrmllm_ros.datasets.rendered.ground_truth import VisibleObject, annotate
from mrmllm_ros.datasets.rendered.image_effects import (
    EffectSettings,
    apply_effects,
    distort,
    draw_distortion,
)
from mrmllm_ros.datasets.rendered.layout import Layout, furnish
from mrmllm_ros.datasets.rendered.model_map import SPLITS, Split
from mrmllm_ros.datasets.rendered.places import Place, places
from mrmllm_ros.datasets.rendered.renderer import (
    Drawable,
    Lighting,
    ObjectPixels,
    Renderer,
    RenderError,
    SurfaceImage,
)
from mrmllm_ros.datasets.rendered.room_mesh import pane, room_parts
from mrmllm_ros.datasets.rendered.surfaces import draw_surface, surfaces
from mrmllm_ros.datasets.rendered.viewpoints import moved, viewpoints
from mrmllm_ros.detection.images import read_image
from mrmllm_ros.weights.catalog import CATALOG

# Streams of random numbers of one scene.
_LAYOUT, _LOOK, _CAMERA, _EFFECTS = range(4)

_ROOMS = 6  # furnished for a view that shows enough
_MAX_ROOMS = 60  # furnished for any view
_VIEWS = 3  # cameras that are rendered in a room
_MIN_OBJECTS = 6
_MIN_PIXELS = 150  # of an object that counts
_NEAR_M = 0.5
_MAX_NEAR = 0.3  # share of the image
_VIEW_SIZE = 512  # pixels across a photograph in a window
_FRAME_S = 0.1


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """Image size, number of frames and camera effects of scenes.

    Attributes:
        resolution_wh: Width and height of the images in pixels.
        frames: Number of images of a moving camera in each scene; 1 for a camera at rest.
        effects: Effects of the camera.
    """

    resolution_wh: tuple[int, int] = (640, 480)
    frames: int = 1
    effects: EffectSettings = field(default_factory=EffectSettings)


@dataclass(frozen=True, eq=False, kw_only=True)
class Frame:
    """An image with its truth.

    Attributes:
        image: (H, W, 3) uint8 in BGR order.
        depth: (H, W) float32 in meters, or None if unknown.
        entry: Fields of the image in COCO's format, without id and file names.
        objects: Annotations without ids, each with its `noun`.
        credits: Title, creator and license of each model in the scene, by its key;
            photographs have no creator.
    """

    image: np.ndarray
    depth: np.ndarray | None
    entry: Mapping[str, Any]
    objects: Sequence[Mapping[str, Any]]
    credits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class SceneRenderer:
    """Renders the scenes of one split; a scene depends on seed and number alone.

    Attributes:
        renderer: OpenGL renderer of the images' size.
    """

    def __init__(
        self,
        library: FurnitureLibrary,
        photographs: Sequence[Path],
        split: Split,
        seed: int,
        settings: SceneSettings,
    ) -> None:
        """Create a renderer.

        Args:
            library: 3D models.
            photographs: Photographs of the split, for windows.
            split: Split of models, surfaces and statistics.
            seed: Random seed.
            settings: Look of the scenes.

        Raises:
            RenderError: If there is no OpenGL.
        """
        self._library = library
        self._models = [each for each in library.models if each.entry.split == split]
        self._photographs = photographs
        self._split = split
        self._seed = seed
        self._settings = settings
        self.renderer = Renderer(settings.resolution_wh)
        self._meshes: dict[str, list[MeshPart]] = {}
        self._room: Room | None = None

    def frames(self, number: int) -> list[Frame]:
        """Render the scene of a number.

        Args:
            number: Number of the scene, from 0.
        """
        kinds = places(self._split)
        view = self.first_view(number, kinds[number % len(kinds)])
        rng = self.rng(number, _EFFECTS)
        distortion = draw_distortion(self._settings.effects, rng)
        frames = []
        for index in range(self._settings.frames):
            at = view if index == 0 else self._view(view.room, moved(view.camera, index))
            frame = self.annotated(at, distortion)
            stamp = {"stamp": round(index * _FRAME_S, 3)} if self._settings.frames > 1 else {}
            frames.append(
                replace(
                    frame,
                    image=apply_effects(frame.image, self._settings.effects, rng),
                    entry={**frame.entry, **stamp, "scene": number},
                )
            )
        return frames

    def first_view(self, number: int, place: Place) -> RoomView:
        """Render the first view of a scene in which enough can be seen.

        Args:
            number: Number of the scene.
            place: Kind of the room.
        """
        last = None
        for attempt, view in self.views(number, place):
            if view.shows_enough:
                return view
            if attempt >= _ROOMS:
                return last or view
            last = view
        raise RenderError(f"scene {number} has no free place for a camera; use another seed")

    def views(self, number: int, place: Place) -> Iterator[tuple[int, RoomView]]:
        """Render views of many rooms, each with the number of the room.

        Args:
            number: Number of the scene.
            place: Kind of the rooms.
        """
        for attempt in range(_MAX_ROOMS):
            room = self._furnish(place, number, attempt)
            rng = self.rng(number, _CAMERA, attempt)
            cameras = viewpoints(room.layout, place, self._settings.resolution_wh, rng)
            for camera in cameras[:_VIEWS]:
                yield attempt, self._view(room, camera)

    def rng(self, number: int, stream: int, attempt: int = 0) -> np.random.Generator:
        """Random numbers of a scene.

        Args:
            number: Number of the scene.
            stream: Number of an independent stream.
            attempt: Number of the attempt.
        """
        # From 1, because numpy ignores trailing zeros of a seed.
        key = [self._seed, SPLITS.index(self._split), number, stream, attempt + 1]
        return np.random.default_rng(key)

    def annotated(self, view: RoomView, distortion: np.ndarray) -> Frame:
        """Render a view in color and annotate it, without effects of the camera but distortion.

        Args:
            view: The view.
            distortion: (5,) coefficients of the lens.
        """
        room, camera, surfaces = view.room, view.camera, view.surfaces
        drawables = [room.shell, *room.drawables]
        # The walls and the ceiling would keep the main light out.
        color = self.renderer.color(drawables, camera, room.lighting, room.drawables)
        # Pictures that are pasted later have larger instances.
        inside = surfaces.instances * (surfaces.instances <= len(room.drawables))
        visible = [room.drawables[i - 1] for i in np.unique(inside).tolist() if i]
        pixels = self.renderer.object_pixels(visible, camera)
        image = distort(color, camera, distortion)
        instances = distort(inside, camera, distortion)
        return Frame(
            image=image,
            depth=distort(surfaces.depth, camera, distortion),
            entry={"place": room.place.name, **_describe(camera, distortion)},
            objects=[
                _annotation(view, instance, instances == instance, pixels[instance], image)
                for instance in np.unique(instances[instances > 0]).tolist()
            ],
            credits=room.credits,
        )

    def _view(self, room: Room, camera: PinholeCamera) -> RoomView:
        surfaces = self.renderer.surfaces([room.shell, *room.drawables], camera)
        return RoomView(room, camera, surfaces)

    def _furnish(self, place: Place, number: int, attempt: int) -> Room:
        if self._room is not None:
            self.renderer.forget(self._room.own_meshes)
        layout = furnish(place, self._models, self.rng(number, _LAYOUT, attempt))
        look = self.rng(number, _LOOK, attempt)
        name = f"{number} {attempt}"
        shell = Drawable(f"room {name}", self._room_parts(layout, look), np.eye(4))
        photographs: dict[str, Path] = {}
        drawables = []
        for instance, placed in enumerate(layout.objects, 1):
            key = placed.model.entry.key
            if placed.model.entry.noun == "window" and self._photographs:
                key = f"window {name} {instance}"
                photographs[key] = self._photographs[int(look.integers(len(self._photographs)))]
            parts = self._parts(placed.model, photographs.get(key))
            drawables.append(Drawable(key, parts, placed.transform, instance))
        lighting = _draw_lighting(layout, look)
        self._room = Room(place, layout, shell, drawables, lighting, photographs)
        return self._room

    def _room_parts(self, layout: Layout, rng: np.random.Generator) -> list[MeshPart]:
        textures = []
        for kind in ("floors", "walls"):
            known = surfaces(kind, self._split)
            textures.append(draw_surface(known[int(rng.integers(len(known)))], rng))
        return room_parts(layout.size, *textures)

    def _parts(self, model: FurnitureModel, photograph: Path | None) -> list[MeshPart]:
        parts = self._mesh(model)
        return parts if photograph is None else [*parts, pane(model.size, _view(photograph))]

    def _mesh(self, model: FurnitureModel) -> list[MeshPart]:
        if model.entry.key not in self._meshes:
            self._meshes[model.entry.key] = self._library.mesh(model)
        return self._meshes[model.entry.key]


@dataclass(frozen=True, eq=False)
class Room:
    """A furnished and lit room.

    Attributes:
        place: Kind of the room.
        layout: Objects in the room.
        shell: Floor, walls and ceiling.
        drawables: The objects, in the order of the layout; instances count from 1.
        lighting: Lights.
        photographs: Photograph in each window, by the key of its mesh.
    """

    place: Place
    layout: Layout
    shell: Drawable
    drawables: Sequence[Drawable]
    lighting: Lighting
    photographs: Mapping[str, Path]

    @property
    def own_meshes(self) -> list[str]:
        """Keys of the meshes that no other room has."""
        return [self.shell.key, *self.photographs]

    @property
    def credits(self) -> dict[str, Mapping[str, str]]:
        """Title and license of each model and photograph, and creators of models."""
        models = {each.model.entry.key: each.model.credit for each in self.layout.objects}
        pictures = {f"{x.parent.name}/{x.name}": _credit(x) for x in self.photographs.values()}
        return models | pictures


@dataclass(frozen=True, eq=False)
class RoomView:
    """A room as a camera sees it.

    Attributes:
        room: The room.
        camera: The camera.
        surfaces: Depth and instances of the pixels; instances count the layout's objects from 1.
    """

    room: Room
    camera: PinholeCamera
    surfaces: SurfaceImage

    @property
    def shows_enough(self) -> bool:
        """Whether enough objects are in view and nothing is right before the camera."""
        counts = np.bincount(self.surfaces.instances.ravel())[1:]
        depth = self.surfaces.depth
        near = (depth > 0) & (depth < _NEAR_M)
        return int((counts >= _MIN_PIXELS).sum()) >= _MIN_OBJECTS and near.mean() <= _MAX_NEAR


def _annotation(
    view: RoomView,
    instance: int,
    visible: np.ndarray,
    pixels: ObjectPixels,
    image: np.ndarray,
) -> dict[str, Any]:
    """Annotation of an object from its (H, W) visible pixels in the final image."""
    entry = view.room.layout.objects[instance - 1].model.entry
    found = VisibleObject(
        instance=instance,
        noun=entry.noun,
        family=entry.family,
        model=entry.key,
        visible=visible,
        own_pixels=pixels.inside,
        all_pixels=pixels.everywhere,
    )
    surfaces = view.surfaces
    points = view.camera.points(surfaces.depth, surfaces.instances == instance)
    return {"noun": entry.noun, **annotate(found, image, points)}


def _describe(camera: PinholeCamera, distortion: np.ndarray) -> dict[str, Any]:
    """Fields of an image's entry about its camera."""
    return {
        "camera_info": {
            "k": np.round(camera.matrix, 4).ravel().tolist(),
            "d": np.round(distortion, 6).tolist(),
            "distortion_model": "plumb_bob",
        },
        "camera_pose": {
            "position": np.round(camera.position, 5).tolist(),
            "orientation": np.round(camera.quaternion, 7).tolist(),
        },
    }


def _draw_lighting(layout: Layout, rng: np.random.Generator) -> Lighting:
    """A main light from above, one to three lamps below the ceiling, warm or cool."""
    warmth = rng.uniform(-0.12, 0.12)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    lamps = int(rng.integers(1, 4))
    room = np.asarray(layout.size)
    points = rng.uniform(0.15, 0.85, (lamps, 3)) * room
    points[:, 2] = room[2] - rng.uniform(0.1, 0.5, lamps)
    return Lighting(
        ambient=tint * rng.uniform(0.25, 0.6),
        direction=np.array([*rng.uniform(-0.7, 0.7, 2), 1.0]),
        color=tint * rng.uniform(0.25, 0.8),
        points=points,
        point_colors=tint * rng.uniform(0.4, 1.4, (lamps, 1)),
        exposure=float(rng.uniform(0.8, 1.15)),
    )


def _credit(photograph: Path) -> dict[str, str]:
    """Title and license of a photograph of a fetched asset."""
    asset = CATALOG.get(photograph.parent.name)
    return {"title": photograph.stem, "license": asset.license if asset else "unknown"}


@lru_cache(maxsize=64)
def _view(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB photograph, scaled down."""
    image = read_image(path)
    scale = min(_VIEW_SIZE / image.shape[1], 1.0)
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[..., ::-1])
