# SPDX-License-Identifier: Apache-2.0
"""Depth images to (H, W) float32 arrays in meters (REP 118)."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image

from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.ros.conversions.image_messages import rows_of

# Type of a pixel, and meters for one of its units.
_ENCODINGS = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}


def depth_from_image(message: Image) -> np.ndarray:
    """Decode a depth image: `16UC1` (or `mono16`) in millimeters, `32FC1` in meters.

    Returns:
        (H, W) float32, meters along the optical axis; 0, NaN and infinity are holes.

    Raises:
        ImageError: If the image is empty, shorter than it says, or no depth image.
    """
    if message.encoding not in _ENCODINGS:
        raise ImageError(
            f"encoding {message.encoding!r} is not depth; take {', '.join(_ENCODINGS)} "
            "(a compressed depth image goes through image_transport's republish first)"
        )
    code, meters = _ENCODINGS[message.encoding]
    dtype = np.dtype(code).newbyteorder(">" if message.is_bigendian else "<")
    rows = np.ascontiguousarray(rows_of(message, dtype.itemsize))
    return rows.view(dtype).astype(np.float32) * np.float32(meters)
