# SPDX-License-Identifier: Apache-2.0
"""Images as arrays: (H, W, 3) uint8 in BGR order, as OpenCV and ultralytics take them."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from mrmllm_ros.detection.image_damage import find_damage
from mrmllm_ros.errors import MrmllmError

# Longest sides of an image in pixels, where OpenCV's own message does not say why it fails.
_MAX_SIDES = {".jpg": 65500, ".jpeg": 65500, ".jpe": 65500, ".webp": 16383}


class ImageError(MrmllmError):
    """An image cannot be used; the message says why."""


def decode_image(data: Any) -> np.ndarray:
    """Decode a JPEG, PNG or other image file held in memory, turned as its EXIF tag says.

    Args:
        data: The file's bytes, or a buffer of them.

    Returns:
        (H, W, 3) uint8 in BGR order; gray images are spread over the channels, transparency is
        left out.

    Raises:
        ImageError: If the bytes are not an image, or the image is damaged.
    """
    return _decode(data, cv2.IMREAD_COLOR)


def decode_pixels(data: Any) -> np.ndarray:
    """Decode an image file held in memory to the pixels that it stores.

    Args:
        data: The file's bytes, or a buffer of them.

    Returns:
        (H, W) or (H, W, C) of the file's own type and number of channels, colors in BGR order,
        not turned.

    Raises:
        ImageError: If the bytes are not an image, or the image is damaged.
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
        raise ImageError(f"{encoded.size} bytes are not a JPEG, PNG or other known image")
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
        raise ImageError(f"cannot read the image {printable(path)}: {error.strerror}") from error
    # ValueError: the path holds a null character.
    except (ImageError, ValueError) as error:
        raise ImageError(f"cannot read the image {printable(path)}: {error}") from error


def to_bgr(image: Any) -> np.ndarray:
    """Make an array of an image in any of the forms that users have.

    Args:
        image: Path of an image file, as text too; an (H, W, 3) uint8 array in BGR order, as of
            OpenCV; or an image of PIL. Files and images of PIL are turned as their EXIF tag says.

    Returns:
        (H, W, 3) uint8 in BGR order; a copy, so that the caller may use the image's memory again.

    Raises:
        ImageError: If it is something else, empty, or cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return _pil_to_bgr(image)
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"an image of type {type(image).__name__} cannot be used; give a path, a numpy array "
            "of (height, width, 3) uint8 in BGR order, or an image of PIL"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(
            f"an array of shape {image.shape} and type {image.dtype} cannot be used; convert it "
            "to (height, width, 3) uint8 in BGR order"
        )
    if image.size == 0:
        raise ImageError(f"the image is empty: its array has the shape {image.shape}")
    return np.array(image, order="C", subok=False)


def _pil_to_bgr(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        raise ImageError(
            f"an image of PIL of mode {image.mode} cannot be used; scale it to 8 bits and convert "
            "it to RGB"
        )
    if 0 in image.size:
        raise ImageError(f"the image is empty: its size is {image.size}")
    try:
        rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    # PIL decodes a file when its pixels are first used, and raises all kinds of errors then.
    except Exception as error:
        raise ImageError(
            f"the image of PIL cannot be read ({type(error).__name__}: {error}); its file may be "
            "closed or damaged"
        ) from error
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


def encode_image(bgr: np.ndarray, suffix: str, quality: int | None = None) -> bytes:
    """Encode an image as a file of the type that a suffix names.

    Args:
        bgr: (H, W, 3) uint8.
        suffix: Such as `.jpg`; upper case will do, too.
        quality: Quality of a JPEG, from 1 to 100; None for OpenCV's default.

    Raises:
        ImageError: If the image is empty or too large for the type, or OpenCV cannot write the
            type.
    """
    height, width = bgr.shape[:2]
    size = f"{width} x {height} pixels"
    if bgr.size == 0:
        raise ImageError(f"the image is empty: {size}")
    if not suffix or not cv2.haveImageWriter(f"image{suffix}"):
        raise ImageError(f"OpenCV writes no images of the type {suffix!r}; use .png or .jpg")
    limit = _MAX_SIDES.get(suffix.lower(), max(width, height))
    if max(width, height) > limit:
        raise ImageError(
            f"the image has {size}, and {suffix} holds at most {limit} on a side; reduce it, or "
            "use .png"
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
    """Save an image; a file that is there before stays as it is if this fails.

    Args:
        path: Its suffix names the type.
        bgr: (H, W, 3) uint8.

    Raises:
        ImageError: If the image cannot be encoded or the file cannot be written.
    """
    try:
        _write(Path(os.path.realpath(path)), encode_image(bgr, path.suffix))
    except ImageError as error:
        raise ImageError(f"cannot save {printable(path)}: {error}") from error
    except OSError as error:
        raise ImageError(f"cannot save {printable(path)}: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; a device or a pipe is written to."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def printable(path: Path) -> str:
    """Write a path for messages: bytes in it that are not UTF-8 become escape sequences.

    Loggers and OpenCV take texts in UTF-8 only.
    """
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
