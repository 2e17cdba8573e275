# SPDX-License-Identifier: Apache-2.0
"""Images, folders of images and video files as one endless or finite sequence of frames."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np

from mrmllm_ros.perception.images import ImageError, read_image

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def frames(path: Path) -> Iterator[np.ndarray]:
    """Read an image, the images of a folder in the order of their names, or a video, once.

    Returns:
        Iterator of (H, W, 3) uint8 arrays in BGR order.

    Raises:
        ImageError: If there is nothing to play or a file cannot be read.
    """
    return map(itemgetter(1), named_frames(path))


def named_frames(path: Path) -> Iterator[tuple[Path, np.ndarray]]:
    """Read the same images as `frames`, each with the file that it is from.

    Raises:
        ImageError: If there is nothing to play or a file cannot be read.
    """
    try:
        files = _image_files(path)
    except OSError as error:
        raise ImageError(f"cannot play {path}: {error.strerror}") from error
    # Maps and not generators: after a file that cannot be read they go on with the next one.
    if files is None:
        return _video_frames(path)
    return map(_named_image, files)


def _image_files(path: Path) -> list[Path] | None:
    """The image, or the images of the folder; None if it is neither."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise ImageError(f"the folder {path} holds no images")
        return files
    return [path] if path.suffix.lower() in IMAGE_SUFFIXES else None


def _named_image(path: Path) -> tuple[Path, np.ndarray]:
    return path, read_image(path)


def _video_frames(path: Path) -> Iterator[tuple[Path, np.ndarray]]:
    if not path.is_file():
        raise ImageError(f"there is no file or folder {path}")
    capture = cv2.VideoCapture(str(path))
    try:
        available, frame = capture.read()
        if not available and capture.isOpened():
            raise ImageError(f"{path} is a video of which OpenCV can decode no image")
        if not available:
            raise ImageError(f"{path} is neither an image nor a video that OpenCV can read")
        while available:
            yield path, frame
            available, frame = capture.read()
    finally:
        capture.release()
