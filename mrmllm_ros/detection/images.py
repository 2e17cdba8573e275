# SPDX-License-Identifier: Apache-2.0
"""Read, decode, convert and save images: (H, W, 3) uint8 in BGR order, as in OpenCV."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from mrmllm_ros.atomic_files import atomic_file
from mrmllm_ros.detection.image_damage import find_damage
from mrmllm_ros.errors import MrmllmError

# Maximum sides in pixels of types for which OpenCV's error does not name the limit.
_MAX_SIDES = {".jpg": 65500, ".jpeg": 65500, ".jpe": 65500, ".webp": 16383}


class ImageError(MrmllmError):
    """An image cannot be read or used; the message names the reason."""


def decode_image(data: Any) -> np.ndarray:
    """Decode a JPEG, PNG or other image file, rotated according to its EXIF tag.

    Args:
        data: Content of the file, as bytes or buffer.

    Returns:
        (H, W, 3) uint8 in BGR order; gray images get three channels, alpha is dropped.

    Raises:
        ImageError: If the data is not an image, or is damaged.
    """
    return _decode(data, cv2.IMREAD_COLOR)


def decode_pixels(data: Any) -> np.ndarray:
    """Decode an image file without any conversion.

    Args:
        data: Content of the file, as bytes or buffer.

    Returns:
        (H, W) or (H, W, C) with type and channels of the file, colors in BGR order, not rotated.

    Raises:
        ImageError: If the data is not an image, or is damaged.
    """
    return _decode(data, cv2.IMREAD_UNCHANGED)


def _decode(data: Any, flags: int) -> np.ndarray:
    encoded = np.frombuffer(data, np.uint8)
    if damage := find_damage(encoded.tobytes()):
        raise ImageError(f"the image is damaged: {damage}")
    try:
        image = cv2.imdecode(encoded, flags) if encoded.size else None
    except cv2.error as error:
        raise ImageError(f"the image cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError(f"{encoded.size} bytes are not a JPEG, PNG or other supported image")
    return image


def read_image(path: Path) -> np.ndarray:
    """Read an image file.

    Returns:
        (H, W, 3) uint8 in BGR order.

    Raises:
        ImageError: If the file is missing, is not an image or is damaged.
    """
    try:
        return decode_image(path.read_bytes())
    except OSError as error:
        raise ImageError(
            f"cannot read the image {printable_path(path)}: {error.strerror}"
        ) from error
    # ValueError: the path contains a null character.
    except (ImageError, ValueError) as error:
        raise ImageError(f"cannot read the image {printable_path(path)}: {error}") from error


def to_bgr(image: Any) -> np.ndarray:
    """Convert an image to an array.

    Args:
        image: Path of an image file, (H, W, 3) uint8 array in BGR order, or PIL image. Files and
            PIL images are rotated according to their EXIF tag.

    Returns:
        (H, W, 3) uint8 in BGR order; always a copy.

    Raises:
        ImageError: If the image has another type, is empty or cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return _pil_to_bgr(image)
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"an image of type {type(image).__name__} is not supported; pass a path, a numpy "
            "array of (height, width, 3) uint8 in BGR order, or a PIL image"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(
            f"an array of shape {image.shape} and type {image.dtype} is not supported; convert "
            "it to (height, width, 3) uint8 in BGR order"
        )
    if image.size == 0:
        raise ImageError(f"the image is empty: the array has shape {image.shape}")
    return np.array(image, order="C", subok=False)


def _pil_to_bgr(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        raise ImageError(
            f"a PIL image of mode {image.mode} is not supported; scale it to 8 bits and convert "
            "it to RGB"
        )
    if 0 in image.size:
        raise ImageError(f"the image is empty: its size is {image.size}")
    try:
        rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    # PIL decodes a file at the first access to its pixels, with many types of exceptions.
    except Exception as error:
        raise ImageError(
            f"the PIL image cannot be read ({type(error).__name__}: {error}); its file may be "
            "closed or damaged"
        ) from error
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


def encode_image(bgr: np.ndarray, suffix: str, quality: int | None = None) -> bytes:
    """Encode an image.

    Args:
        bgr: (H, W, 3) uint8.
        suffix: Suffix of the file type, such as `.jpg`; upper or lower case.
        quality: JPEG quality from 1 to 100; None for OpenCV's default.

    Raises:
        ImageError: If the image is empty or too large for the type, or OpenCV does not support
            the type.
    """
    height, width = bgr.shape[:2]
    size = f"{width} x {height} pixels"
    if bgr.size == 0:
        raise ImageError(f"the image is empty: {size}")
    if not suffix or not cv2.haveImageWriter(f"image{suffix}"):
        raise ImageError(f"OpenCV cannot write images of type {suffix!r}; use .png or .jpg")
    limit = _MAX_SIDES.get(suffix.lower(), max(width, height))
    if max(width, height) > limit:
        raise ImageError(
            f"the image has {size}, but {suffix} supports at most {limit} per side; scale it down "
            "or use .png"
        )
    options = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    try:
        encoded, data = cv2.imencode(suffix, bgr, options)
    except cv2.error as error:
        raise ImageError(f"OpenCV cannot encode {size} as {suffix}: {error.err}") from error
    if not encoded:
        raise ImageError(f"OpenCV cannot encode {size} as {suffix}")
    return data.tobytes()


def save_image(path: Path, bgr: np.ndarray) -> None:
    """Save an image. An existing file is not changed if this fails.

    Args:
        path: Path of the file; the suffix selects the type.
        bgr: (H, W, 3) uint8.

    Raises:
        ImageError: If the image cannot be encoded or the file cannot be written.
    """
    try:
        data = encode_image(bgr, path.suffix)
        with atomic_file(path) as written:
            written.write_bytes(data)
    except ImageError as error:
        raise ImageError(f"cannot save {printable_path(path)}: {error}") from error
    except OSError as error:
        raise ImageError(f"cannot save {printable_path(path)}: {error.strerror}") from error


def printable_path(path: Path) -> str:
    """Path with escape sequences for bytes that are not UTF-8, for loggers and OpenCV."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
