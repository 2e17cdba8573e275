# SPDX-License-Identifier: Apache-2.0
"""3D models of furniture and small things, from the libraries of Sweet Home 3D (`.sh3f`).

A library is a zip file with a catalog (`PluginFurnitureCatalog.properties`), OBJ files and their
textures. The catalog has the real size of each model in centimeters.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.datasets.rendered.model_map import ModelEntry, read_model_map

_CATALOG = "PluginFurnitureCatalog.properties"
_PROPERTY = re.compile(r"^(\w+)#(\d+)=(.*)$")
# Library axes (x right, y up, z to the viewer) to room axes (x right, y away, z up).
_TO_ROOM = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_MAX_TEXTURE = 512  # pixels per side
_MIN_OPACITY = 0.05  # of materials that are drawn
_FIX = "run `mrmllm models fetch --profile scenes`"
# SPDX identifiers, from LICENSE.TXT of each library.
_LICENSES = {
    "BlendSwap-CC-0": "CC0-1.0",
    "BlendSwap-CC-BY": "CC-BY-3.0",
    "KatorLegaz": "CC-BY-3.0-US",
    "Reallusion": "CC-BY-3.0-US",
    "Scopia": "CC-BY-3.0",
}


@dataclass(frozen=True, kw_only=True)
class FurnitureModel:
    """A named 3D model.

    Attributes:
        entry: Noun, family, role and places from the label map.
        title: Name in the catalog of the library.
        creator: Author of the model.
        license: SPDX identifier.
        path: OBJ file in the library.
        size: Width, depth and height in meters.
        elevation: Height of the base above the floor in meters.
        top: Height above the base at which other things stand on it, in meters.
        rotation: (3, 3) from the axes of the file to those of the library.
    """

    entry: ModelEntry
    title: str
    creator: str
    license: str
    path: str
    size: tuple[float, float, float]
    elevation: float
    top: float
    rotation: np.ndarray

    @property
    def credit(self) -> dict[str, str]:
        """Title, creator and license, which the license asks to name."""
        return {"title": self.title, "creator": self.creator, "license": self.license}

    @property
    def library(self) -> str:
        """Name of the library."""
        return self.entry.key.split("/")[0]


@dataclass(frozen=True, eq=False)
class MeshPart:
    """Triangles of one material.

    Attributes:
        positions: (3 T, 3) float32, corners of T triangles in meters. The base of the model is
            centered at the origin, its front faces -y, z is up.
        normals: (3 T, 3) float32 unit vectors.
        uv: (3 T, 2) float32 texture coordinates.
        color: RGB, each from 0 to 1 (sRGB); multiplies the texture.
        opacity: 0 transparent to 1 opaque.
        shininess: Strength of highlights, 0 to 1.
        texture: (H, W, 3) uint8 RGB, or None.
    """

    positions: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    color: tuple[float, float, float]
    opacity: float = 1.0
    shininess: float = 0.0
    texture: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class FurnitureLibrary:
    """The models of a folder with libraries.

    Attributes:
        folder: Folder of the `.sh3f` files.
        entries: Label map; models without an entry are not used.
    """

    folder: Path
    entries: Sequence[ModelEntry]

    @classmethod
    def open(cls, folder: Path) -> FurnitureLibrary:
        """Open the libraries with the label map of the package.

        Raises:
            DataError: If the label map is wrong.
        """
        return cls(folder, read_model_map())

    @cached_property
    def models(self) -> tuple[FurnitureModel, ...]:
        """All models with an entry in the label map, in its order.

        Raises:
            DataError: If a library or a model is missing or damaged, or the license of a library
                is unknown.
        """
        catalogs = {name: _read_catalog(file) for name, file in self._files.items()}
        return tuple(_model(entry, catalogs) for entry in self.entries)

    @cached_property
    def _files(self) -> Mapping[str, zipfile.ZipFile]:
        names = sorted({entry.key.split("/")[0] for entry in self.entries})
        return {name: _open(self.folder / f"{name}.sh3f") for name in names}

    def mesh(self, model: FurnitureModel) -> list[MeshPart]:
        """Load the triangles of a model, scaled to its size.

        Raises:
            DataError: If the OBJ file is missing, damaged or without triangles.
        """
        import trimesh

        file = self._files[model.library]
        data = _read(file, model.path)
        resolver = trimesh.resolvers.ZipResolver(_beside(file, model.path))
        try:
            scene = trimesh.load(
                io.BytesIO(data),
                file_type="obj",
                resolver=resolver,
                split_object=False,
                group_material=True,
                process=False,
            )
        except Exception as error:
            # trimesh raises what its parser comes across.
            reason = " ".join(str(error).split())
            raise DataError(
                f"{file.filename}: {model.path} is not OBJ: {reason}; {_FIX}"
            ) from error
        geometries = scene.geometry.values() if hasattr(scene, "geometry") else [scene]
        has_normals = b"\nvn " in data
        # Vertices without triangles are a point cloud, which has no faces.
        solid = [each for each in geometries if len(getattr(each, "faces", ()))]
        parts = [_part(each, has_normals) for each in solid]
        if not parts:
            raise DataError(f"{file.filename}: {model.path} has no triangles; {_FIX}")
        # Invisible materials count for the size, but would hide objects in masks and depth.
        return [part for part in _scaled(parts, model) if part.opacity >= _MIN_OPACITY]


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}; {_FIX}") from error


def _read(file: zipfile.ZipFile, name: str) -> bytes:
    """Read a file of a library.

    Raises:
        DataError: If it is missing or damaged.
    """
    try:
        return file.read(name)
    except (KeyError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"cannot read {name} in {file.filename}: {error}; {_FIX}") from error


def _read_catalog(file: zipfile.ZipFile) -> dict[str, Mapping[str, str]]:
    """Properties of the models of a library, by the last part of their ids."""
    items: dict[str, dict[str, str]] = defaultdict(dict)
    for line in _read(file, _CATALOG).decode("latin-1").splitlines():
        if match := _PROPERTY.match(line):
            name, number, value = match.groups()
            items[number][name] = value.strip()
    return {item["id"].split("#")[-1]: item for item in items.values() if "id" in item}


def _model(
    entry: ModelEntry, catalogs: Mapping[str, Mapping[str, Mapping[str, str]]]
) -> FurnitureModel:
    library, key = entry.key.split("/")
    if library not in _LICENSES:
        raise DataError(f"the license of the library {library} is unknown; add it to _LICENSES")
    item = catalogs[library].get(key)
    if item is None:
        raise DataError(f"the label map has {entry.key}, which is not in the library {library}")
    try:
        return _catalog_model(entry, item, _LICENSES[library])
    except (KeyError, ValueError) as error:
        raise DataError(f"the catalog of {library} is wrong: {key}: {error}; {_FIX}") from error


def _catalog_model(entry: ModelEntry, item: Mapping[str, str], license: str) -> FurnitureModel:
    width, depth, height = (float(item[side]) / 100 for side in ("width", "depth", "height"))
    rotation = np.array(item.get("modelRotation", "1 0 0 0 1 0 0 0 1").split(), float)
    return FurnitureModel(
        entry=entry,
        title=item["name"],
        creator=item["creator"],
        license=license,
        path=item["model"].lstrip("/"),
        size=(width, depth, height),
        elevation=float(item.get("elevation", 0)) / 100,
        top=_top(item, height),
        rotation=rotation.reshape(3, 3),
    )


def _top(item: Mapping[str, str], height: float) -> float:
    """Height at which other things stand on a model, in meters."""
    elevation = float(item.get("dropOnTopElevation", 0)) / 100
    return elevation if elevation > 0 else height


def _beside(file: zipfile.ZipFile, path: str) -> dict[str, io.BytesIO]:
    """Files in the folder of a model, by their names relative to it."""
    folder = posixpath.dirname(path) + "/"
    return {
        name.removeprefix(folder): io.BytesIO(_read(file, name))
        for name in file.namelist()
        if name.startswith(folder) and name[-1] != "/"
    }


def _part(geometry: Any, has_normals: bool) -> MeshPart:
    faces = geometry.faces
    positions = geometry.vertices[faces].reshape(-1, 3).astype(np.float32)
    if has_normals:
        normals = geometry.vertex_normals[faces].reshape(-1, 3)
    else:
        normals = np.repeat(geometry.face_normals, 3, axis=0)
    uv = getattr(geometry.visual, "uv", None)
    has_uv = uv is not None and len(uv) == len(geometry.vertices)
    corners = uv[faces].reshape(-1, 2) if has_uv else np.zeros((len(positions), 2))
    material = getattr(geometry.visual, "material", None)
    return MeshPart(
        positions=positions,
        normals=normals.astype(np.float32),
        uv=corners.astype(np.float32),
        **_appearance(material, has_uv),
    )


def _appearance(material: Any, has_uv: bool) -> dict[str, Any]:
    texture = _texture(getattr(material, "image", None)) if has_uv else None
    diffuse = np.asarray(getattr(material, "diffuse", (160, 160, 160, 255)), float) / 255
    specular = np.asarray(getattr(material, "specular", (0, 0, 0, 255)), float) / 255
    properties = getattr(material, "kwargs", {}) or {}
    opacity = float(np.ravel(properties.get("d", 1.0))[0])
    return {
        # The color of a material with a texture is often left black.
        "color": (1.0, 1.0, 1.0) if texture is not None else tuple(diffuse[:3].tolist()),
        "opacity": min(max(opacity, 0.0), 1.0),
        "shininess": float(specular[:3].mean()),
        "texture": texture,
    }


def _texture(image: Any) -> np.ndarray | None:
    if image is None:
        return None
    pixels = np.asarray(image.convert("RGB"))
    scale = _MAX_TEXTURE / max(pixels.shape[:2])
    if scale < 1:
        size = (max(int(pixels.shape[1] * scale), 1), max(int(pixels.shape[0] * scale), 1))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(pixels)


def _scaled(parts: Sequence[MeshPart], model: FurnitureModel) -> list[MeshPart]:
    """Rotate to the axes of the room and scale to the size of the catalog."""
    rotation = _TO_ROOM @ model.rotation
    corners = [part.positions @ rotation.T for part in parts]
    low = np.min([each.min(axis=0) for each in corners], axis=0)
    high = np.max([each.max(axis=0) for each in corners], axis=0)
    extent = np.maximum(high - low, 1e-6)
    scale = np.asarray(model.size) / extent
    origin = np.array([*((low + high) / 2)[:2], low[2]])
    scaled = []
    for part, positions in zip(parts, corners, strict=True):
        # Normals are scaled inversely.
        normals = part.normals @ rotation.T / scale
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        scaled.append(
            MeshPart(
                positions=((positions - origin) * scale).astype(np.float32),
                normals=(normals / np.maximum(lengths, 1e-9)).astype(np.float32),
                uv=part.uv,
                color=part.color,
                opacity=part.opacity,
                shininess=part.shininess,
                texture=part.texture,
            )
        )
    return scaled
