# SPDX-License-Identifier: Apache-2.0
"""Read frames from images, folders of images and videos."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np

from mrmllm_ros.detection.images import ImageError, printable_path, read_image

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def frames(path: Path) -> Iterator[np.ndarray]:
    """Read an image, the images of a folder in order of their names, or a video.

    Returns:
        Iterator of (H, W, 3) uint8 arrays in BGR order.

    Raises:
        ImageError: If there are no images, or a file cannot be read.
    """
    return map(itemgetter(1), named_frames(path))


def named_frames(path: Path) -> Iterator[tuple[Path, np.ndarray]]:
    """Read frames together with the path of their file; see `frames`."""
    # Unlike a generator, a map continues after a file that cannot be read.
    if os.path.isdir(path):
        return map(_named_image, image_files(path))
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return map(_named_image, [path])
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
        files = [p for p in entries if p.suffix.lower() in IMAGE_SUFFIXES and not p.is_dir()]
    except OSError as error:
        raise ImageError(
            f"cannot read the folder {printable_path(folder)}: {error.strerror}"
        ) from error
    if not files:
        raise ImageError(f"the folder {printable_path(folder)} holds no images")
    return files


def _named_image(path: Path) -> tuple[Path, np.ndarray]:
    return path, read_image(path)


def _video_frames(path: Path) -> Iterator[tuple[Path, np.ndarray]]:
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
            yield path, frame
            available, frame = capture.read()
    finally:
        capture.release()
