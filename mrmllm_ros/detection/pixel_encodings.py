# SPDX-License-Identifier: Apache-2.0
"""Convert pixels in the encodings of sensor_msgs/image_encodings.hpp to BGR.

OpenCV names Bayer patterns after the second row and column: its BG is `rggb` in ROS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np

from mrmllm_ros.detection.images import ImageError


@dataclass(frozen=True)
class PixelEncoding:
    """Encoding with interleaved channels.

    Attributes:
        channels: Values per pixel.
        dtype: Type of a value.
        conversion: OpenCV's code of the conversion to BGR; None for BGR.
    """

    channels: int
    dtype: np.dtype
    conversion: int | None

    @property
    def pixel_bytes(self) -> int:
        """Size of a pixel in bytes."""
        return self.channels * self.dtype.itemsize


_CONVERSIONS = {
    "bgr": (3, None),
    "rgb": (3, cv2.COLOR_RGB2BGR),
    "bgra": (4, cv2.COLOR_BGRA2BGR),
    "rgba": (4, cv2.COLOR_RGBA2BGR),
    "mono": (1, cv2.COLOR_GRAY2BGR),
    "bayer_rggb": (1, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr": (1, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg": (1, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg": (1, cv2.COLOR_BayerGB2BGR),
}
PIXEL_ENCODINGS = {
    f"{name}{8 * dtype.itemsize}": PixelEncoding(channels, dtype, conversion)
    for name, (channels, conversion) in _CONVERSIONS.items()
    for dtype in (np.dtype(np.uint8), np.dtype(np.uint16))
}

# Two pixels in four bytes.
PACKED_YUV = {
    "uyvy": cv2.COLOR_YUV2BGR_UYVY,
    "yuv422": cv2.COLOR_YUV2BGR_UYVY,
    "yuyv": cv2.COLOR_YUV2BGR_YUY2,
    "yuv422_yuy2": cv2.COLOR_YUV2BGR_YUY2,
}
# A luma plane, then a plane of chroma pairs at half the resolution.
HALF_CHROMA_YUV = {"nv12": cv2.COLOR_YUV2BGR_NV12, "nv21": cv2.COLOR_YUV2BGR_NV21}
# A luma plane, then a plane of chroma pairs (U, V) at the same resolution.
FULL_CHROMA_YUV = frozenset({"nv24"})
YUV_ENCODINGS = frozenset({*PACKED_YUV, *HALF_CHROMA_YUV, *FULL_CHROMA_YUV})

_NUMERIC = re.compile(r"(8U|8S|16U|16S|32S|32F|64F)(?:C(\d*))?")
# Color encodings with the same layout as a numeric encoding.
_COLOR_ENCODINGS = {
    "8UC1": ("mono8", "a bayer_* encoding"),
    "8UC3": ("bgr8", "rgb8"),
    "8UC4": ("bgra8", "rgba8"),
    "16UC3": ("bgr16", "rgb16"),
    "16UC4": ("bgra16", "rgba16"),
}


def is_numeric(encoding: str) -> bool:
    """Whether an encoding defines only the type of values, such as `16UC1`."""
    return _NUMERIC.fullmatch(encoding) is not None


def check_encoding(encoding: str) -> None:
    """Check that an encoding defines gray or color pixels.

    Raises:
        ImageError: If the encoding is unknown or numeric, as of depth images.
    """
    if encoding in PIXEL_ENCODINGS or encoding in YUV_ENCODINGS:
        return
    numeric = _NUMERIC.fullmatch(encoding)
    if numeric is None:
        known = ", ".join(sorted({*PIXEL_ENCODINGS, *YUV_ENCODINGS}))
        raise ImageError(f"unknown encoding {encoding!r}; supported encodings: {known}")
    alternatives = _COLOR_ENCODINGS.get(f"{numeric[1]}C{numeric[2] or 1}")
    if alternatives:
        raise ImageError(
            f"encoding {encoding!r} does not define the colors of its channels; configure the "
            f"camera driver to publish {' or '.join(alternatives)}"
        )
    raise ImageError(
        f"encoding {encoding!r} is for measurements such as depth, not colors; use the topic of "
        "the color image (a gray image of 16 bits is mono16)"
    )


def bgr_from_pixels(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """Convert pixels to BGR.

    Args:
        pixels: (H, W) or (H, W, C), uint8 or uint16 in native byte order. Bayer encodings and
            `mono` accept both types.
        encoding: Key of `PIXEL_ENCODINGS`.

    Returns:
        (H, W, 3) uint8, without alpha; 16 bits are scaled to 8 as in cv_bridge: 65535 becomes
        255.

    Raises:
        ImageError: If a Bayer image has fewer than two rows or columns.
    """
    height, width = pixels.shape[:2]
    if encoding.startswith("bayer_") and min(height, width) < 2:
        raise ImageError(f"a {encoding} image needs at least 2 x 2 pixels, not {width} x {height}")
    conversion = PIXEL_ENCODINGS[encoding].conversion
    bgr = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    return bgr if bgr.dtype == np.uint8 else cv2.convertScaleAbs(bgr, alpha=255 / 65535)


def bgr_from_packed_yuv(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """Convert YUV 4:2:2 pixels (BT.601, limited range) to BGR.

    Args:
        pixels: (H, W, 2) uint8, W even.
        encoding: Key of `PACKED_YUV`.

    Returns:
        (H, W, 3) uint8.
    """
    return cv2.cvtColor(pixels, PACKED_YUV[encoding])


def bgr_from_half_chroma_yuv(planes: np.ndarray, encoding: str) -> np.ndarray:
    """Convert YUV 4:2:0 planes (BT.601, limited range) to BGR.

    Args:
        planes: (3 H / 2, W) uint8: H rows of luma, then H / 2 of chroma pairs; H and W even.
        encoding: Key of `HALF_CHROMA_YUV`.

    Returns:
        (H, W, 3) uint8.
    """
    return cv2.cvtColor(planes, HALF_CHROMA_YUV[encoding])


def bgr_from_full_chroma_yuv(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Convert YUV 4:4:4 planes (BT.601, limited range) to BGR.

    Args:
        luma: (H, W) uint8.
        chroma: (H, W, 2) uint8, U and V.

    Returns:
        (H, W, 3) uint8.
    """
    # OpenCV cannot convert 4:4:4 of limited range: double each pixel for 4:2:2.
    pairs = np.stack([luma, chroma[..., 0], luma, chroma[..., 1]], -1)
    height, width = luma.shape
    doubled = cv2.cvtColor(pairs.reshape(height, 2 * width, 2), cv2.COLOR_YUV2BGR_YUY2)
    return np.ascontiguousarray(doubled[:, ::2])
