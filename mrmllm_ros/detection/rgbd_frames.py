# SPDX-License-Identifier: Apache-2.0
"""Read folders of rendered scenes: color images with depth, calibration and camera pose.

Such a folder has a file `annotations.json` in COCO's format, and the images of both kinds in
subfolders. Each entry of `images` also has `depth_file`, `camera_info` and, if they are known,
`camera_pose` and `stamp`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrmllm_ros.detection.images import ImageError, decode_pixels, printable_path, read_image

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True, eq=False, kw_only=True)
class CameraPose:
    """Pose of a camera's optical frame in the frame of the room.

    Attributes:
        position: (3,) float64, meters; z is up.
        xyzw: (4,) float64, unit quaternion.
    """

    position: np.ndarray
    xyzw: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class RgbdFrame:
    """Color image and registered depth image of one time.

    Attributes:
        path: File of the color image.
        depth_path: File of the depth image.
        resolution_wh: Width and height of both in pixels.
        camera_matrix: (3, 3) float64, with the center of the first pixel at 0.
        distortion: Coefficients of the distortion model.
        distortion_model: As in `sensor_msgs/CameraInfo`.
        pose: Pose of the camera, or None if it is unknown.
        stamp_s: Seconds in a sequence of a moving camera; None for a single image.
    """

    path: Path
    depth_path: Path
    resolution_wh: tuple[int, int]
    camera_matrix: np.ndarray
    distortion: tuple[float, ...]
    distortion_model: str
    pose: CameraPose | None
    stamp_s: float | None

    def read_bgr(self) -> np.ndarray:
        """Read the color image, (H, W, 3) uint8 in BGR order.

        Raises:
            ImageError: If it cannot be read or has another size.
        """
        bgr = read_image(self.path)
        _check_size(self.path, bgr, self.resolution_wh)
        return bgr

    def read_depth_mm(self) -> np.ndarray:
        """Read the depth image, (H, W) uint16, millimeters along the optical axis; 0 is a hole.

        Raises:
            ImageError: If it cannot be read, has another size or no 16 bits.
        """
        return read_depth_mm(self.depth_path, self.resolution_wh)


def read_depth_mm(path: Path, resolution_wh: tuple[int, int]) -> np.ndarray:
    """Read a depth image, (H, W) uint16, millimeters along the optical axis; 0 is a hole.

    Args:
        path: File of the depth image.
        resolution_wh: Annotated width and height in pixels.

    Raises:
        ImageError: If it cannot be read, has another size or no 16 bits.
    """
    name = f"the depth image {printable_path(path)}"
    try:
        depth = decode_pixels(path.read_bytes())
    except OSError as error:
        raise ImageError(
            f"cannot read {name}: {error.strerror}; render the folder again"
        ) from error
    except ImageError as error:
        raise ImageError(f"cannot read {name}: {error}") from error
    if depth.dtype != np.uint16 or depth.ndim != 2:
        raise ImageError(
            f"{name} has shape {depth.shape} and type {depth.dtype}; it must have one channel of "
            "16 bits, in millimeters"
        )
    _check_size(path, depth, resolution_wh)
    return depth


def rgbd_frames(folder: Path) -> list[RgbdFrame]:
    """List the frames of a folder in the order of its annotations; reads no image.

    Raises:
        ImageError: If the annotations cannot be read, are not in this format or have no images.
    """
    file = folder / ANNOTATIONS
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImageError(f"cannot read {printable_path(file)}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{printable_path(file)} is not JSON: {error}") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise ImageError(f'{printable_path(file)} has no list "images" with at least one entry')
    return [
        rgbd_frame(folder, entry, f"{printable_path(file)}: images[{index}]")
        for index, entry in enumerate(images)
    ]


def rgbd_frame(folder: Path, entry: Any, where: str) -> RgbdFrame:
    """Make a frame of an entry of `images`; reads no image.

    Args:
        folder: Folder that the file names are relative to.
        entry: The entry.
        where: Place of the entry, for messages.

    Raises:
        ImageError: If a field is missing or has a wrong value; the message names it.
    """
    fields = _Fields(entry, where)
    if fields.get("depth_file") is None:
        raise ImageError(f"{where} has no depth_file; use the folder of its images instead")
    info = _Fields(fields.get("camera_info"), f"{where}: camera_info")
    k = info.numbers("k", 9)
    if min(k[0], k[4]) <= 0:
        raise info.error("k", "the camera matrix, row by row")
    return RgbdFrame(
        path=folder / fields.text("file_name"),
        depth_path=folder / fields.text("depth_file"),
        resolution_wh=(fields.size("width"), fields.size("height")),
        camera_matrix=k.reshape(3, 3),
        distortion=tuple(info.numbers("d").tolist()),
        distortion_model=info.text("distortion_model"),
        pose=_pose(fields),
        stamp_s=None if fields.get("stamp") is None else fields.number("stamp"),
    )


def _pose(fields: _Fields) -> CameraPose | None:
    if fields.get("camera_pose") is None:
        return None
    pose = _Fields(fields.get("camera_pose"), f"{fields.where}: camera_pose")
    xyzw = pose.numbers("orientation", 4)
    if abs(np.linalg.norm(xyzw) - 1) > 1e-3:
        raise pose.error("orientation", "a unit quaternion x, y, z, w")
    return CameraPose(position=pose.numbers("position", 3), xyzw=xyzw / np.linalg.norm(xyzw))


def _check_size(path: Path, pixels: np.ndarray, resolution_wh: tuple[int, int]) -> None:
    height, width = pixels.shape[:2]
    if (width, height) != resolution_wh:
        raise ImageError(
            f"{printable_path(path)} has {width} x {height} pixels, but its annotations say "
            f"{resolution_wh[0]} x {resolution_wh[1]}; render the folder again"
        )


class _Fields:
    """Checked access to the fields of an object in the annotations."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, Mapping):
            raise ImageError(f"{where} is {values!r}; it must be an object with fields")
        self._values = values
        self.where = where

    def get(self, name: str) -> Any:
        return self._values.get(name)

    def error(self, name: str, expected: str) -> ImageError:
        return ImageError(
            f'{self.where} has {name} {self.get(name)!r}; "{name}" must be {expected}'
        )

    def text(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self.error(name, "a text")
        return value

    def size(self, name: str) -> int:
        value = self.get(name)
        if type(value) is not int or value < 1:
            raise self.error(name, "a number of pixels above 0")
        return value

    def number(self, name: str) -> float:
        value = self.get(name)
        if not _is_number(value):
            raise self.error(name, "a number")
        return float(value)

    def numbers(self, name: str, count: int | None = None) -> np.ndarray:
        value = self.get(name)
        is_list = isinstance(value, list) and all(map(_is_number, value))
        if not is_list or count not in (None, len(value)):
            raise self.error(name, "a list of numbers" if count is None else f"{count} numbers")
        return np.array(value, float)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < float("inf")
