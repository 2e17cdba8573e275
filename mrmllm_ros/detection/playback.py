# SPDX-License-Identifier: Apache-2.0
"""Read frames from images, folders of images or of rendered scenes, and videos."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import cv2
import numpy as np

from mrmllm_ros.detection.images import ImageError, printable_path, read_image
from mrmllm_ros.detection.rgbd_frames import ANNOTATIONS, RgbdFrame, rgbd_frames

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordedDepth:
    """Depth of a frame of a rendered scene.

    Attributes:
        millimeters: (H, W) uint16 along the optical axis; 0 is a hole.
        frame: Calibration and pose of the camera.
        duration_s: Seconds until the next frame of a sequence; None at its end and for single
            images.
    """

    millimeters: np.ndarray
    frame: RgbdFrame
    duration_s: float | None


@dataclass(frozen=True, eq=False)
class RecordedFrame:
    """Frame of an image, a folder or a video.

    Attributes:
        path: File of the frame.
        bgr: (H, W, 3) uint8 in BGR order.
        depth: Depth of a rendered scene; None for other sources.
    """

    path: Path
    bgr: np.ndarray
    depth: RecordedDepth | None = None


def frames(path: Path) -> Iterator[np.ndarray]:
    """Read an image, the images of a folder, or a video; see `recorded_frames`.

    Returns:
        Iterator of (H, W, 3) uint8 arrays in BGR order.

    Raises:
        ImageError: If there are no images, or a file cannot be read.
    """
    return map(attrgetter("bgr"), recorded_frames(path))


def recorded_frames(path: Path) -> Iterator[RecordedFrame]:
    """Read an image, the images of a folder in order of their names, or a video.

    A folder with `annotations.json` and without images beside it is one of rendered scenes: its
    frames are those of the annotations, with depth.

    Raises:
        ImageError: If there are no images, or a file cannot be read.
    """
    # Unlike a generator, a map continues after a file that cannot be read.
    if _holds_scenes(path):
        scenes = rgbd_frames(path)
        return map(_read_scene, scenes, _durations(scenes))
    if os.path.isdir(path):
        return map(_read_image, image_files(path))
    if _is_image(path):
        return map(_read_image, [path])
    return _video_frames(path)


def readable_frames(path: Path, on_error: Callable[[ImageError], None]) -> Iterator[np.ndarray]:
    """Read frames, skipping unreadable images of a folder; see `frames`.

    Args:
        path: Path of an image, a folder or a video.
        on_error: Called with the error of each skipped image.

    Yields:
        (H, W, 3) uint8 arrays in BGR order.

    Raises:
        ImageError: If there are no images, or `path` is a file that cannot be read.
    """
    if not os.path.isdir(path):
        yield from frames(path)
        return
    for file in image_files(path):
        try:
            image = read_image(file)
        except ImageError as error:
            on_error(error)
            continue
        yield image


def image_files(folder: Path) -> list[Path]:
    """List the images of a folder in order of their names, without subfolders.

    Raises:
        ImageError: If the folder has no images or cannot be read.
    """
    try:
        entries = sorted(folder.iterdir())
        # Includes broken links, so that reading them reports an error.
        files = [p for p in entries if _is_image(p) and not p.is_dir()]
    except OSError as error:
        raise ImageError(
            f"cannot read the folder {printable_path(folder)}: {error.strerror}"
        ) from error
    if not files:
        raise ImageError(f"the folder {printable_path(folder)} holds no images")
    return files


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _holds_scenes(path: Path) -> bool:
    try:
        names = os.listdir(path)
    except OSError:
        return False
    return ANNOTATIONS in names and not any(_is_image(path / name) for name in names)


def _read_image(path: Path) -> RecordedFrame:
    return RecordedFrame(path, read_image(path))


def _read_scene(frame: RgbdFrame, duration_s: float | None) -> RecordedFrame:
    depth = RecordedDepth(millimeters=frame.read_depth_mm(), frame=frame, duration_s=duration_s)
    return RecordedFrame(frame.path, frame.read_bgr(), depth)


def _durations(scenes: Sequence[RgbdFrame]) -> list[float | None]:
    """Seconds from each frame to the next one; None if that does not continue its sequence."""
    stamps = [np.nan if scene.stamp_s is None else scene.stamp_s for scene in scenes]
    # Microseconds: sums of decimal fractions are not exact.
    steps = np.diff(stamps, append=np.nan).round(6)
    return [step if step > 0 else None for step in steps.tolist()]


def _video_frames(path: Path) -> Iterator[RecordedFrame]:
    if not os.path.isfile(path):
        raise ImageError(f"there is no file or folder {printable_path(path)}")
    if printable_path(path) != str(path):
        raise ImageError(f"{printable_path(path)}: the name of a video must be UTF-8; rename it")
    capture = cv2.VideoCapture(str(path))
    try:
        available, frame = capture.read()
        if not available and capture.isOpened():
            raise ImageError(f"OpenCV cannot decode any image of the video {path}")
        if not available:
            raise ImageError(f"{path} is neither an image nor a video that OpenCV can read")
        while available:
            yield RecordedFrame(path, frame)
            available, frame = capture.read()
    finally:
        capture.release()
