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
        raise ImageError(f"cannot read the image {path}: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"cannot read the image {path}: {error}") from error
