# SPDX-License-Identifier: Apache-2.0
"""Images as arrays: (H, W, 3) uint8 in BGR order, as OpenCV and ultralytics take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mrmllm_ros.errors import MrmllmError


class ImageError(MrmllmError):
    """An image cannot be used; the message says why."""


def decode_image(data: Any) -> np.ndarray:
    """Decode a JPEG, PNG or other image file held in memory.

    Args:
        data: The file's bytes, or a buffer of them.

    Returns:
        (H, W, 3) uint8 in BGR order; grey images are spread over the channels, transparency is
        left out.

    Raises:
        ImageError: If the bytes are not an image.
    """
    encoded = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
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
        ImageError: If the file is missing or is not an image.
    """
    try:
        return decode_image(path.read_bytes())
    except OSError as error:
        raise ImageError(f"cannot read the image {printable(path)}: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"cannot read the image {printable(path)}: {error}") from error


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image file, in the format of the path's extension.

    Args:
        path: The file; one that is there is replaced.
        image: (H, W, 3) uint8 in BGR order.

    Raises:
        ImageError: If the extension is of no known format, the image is too large for it, or the
            file cannot be written.
    """
    height, width = image.shape[:2]
    try:
        encoded, data = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise ImageError(
            f"cannot save {printable(path)}: {error.err}; let the name end in .png or .jpg"
        ) from error
    if not encoded:
        raise ImageError(
            f"cannot save {printable(path)}: {width} x {height} pixels do not fit into the format "
            f"{path.suffix}; save it as .png"
        )
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ImageError(f"cannot save {printable(path)}: {error.strerror}") from error


def printable(path: Path) -> str:
    """Write a path for messages: bytes in it that are not UTF-8 become escape sequences.

    Loggers and OpenCV take texts in UTF-8 only.
    """
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
