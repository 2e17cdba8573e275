# SPDX-License-Identifier: Apache-2.0
"""Convert image messages to and from (H, W, 3) uint8 arrays in BGR order."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mrmllm_ros.detection.images import ImageError, encode_image
from mrmllm_ros.detection.pixel_encodings import (
    HALF_CHROMA_YUV,
    PACKED_YUV,
    PIXEL_ENCODINGS,
    PixelEncoding,
    bgr_from_full_chroma_yuv,
    bgr_from_half_chroma_yuv,
    bgr_from_packed_yuv,
    bgr_from_pixels,
    check_encoding,
)
from mrmllm_ros.ros.conversions.compressed_images import bgr_from_compressed

# Data type of a depth pixel and meters per unit (REP 118).
_DEPTH_ENCODINGS = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}


def bgr_from_image(message: Image) -> np.ndarray:
    """Decode an image of any gray or color encoding to the colors of cv_bridge.

    Padding at the end of rows is removed. `step` of a planar image is that of the luma plane.

    Returns:
        (H, W, 3) uint8 in BGR order; for `bgr8` without padding, a read-only view of the
        message's data.

    Raises:
        ImageError: If the image is empty, its data too short, its encoding unknown or without
            colors, or its size odd where the encoding requires an even one.
    """
    encoding = message.encoding
    check_encoding(encoding)
    if encoding in PIXEL_ENCODINGS:
        return bgr_from_pixels(_pixels(message, PIXEL_ENCODINGS[encoding]), encoding)
    if encoding in PACKED_YUV:
        _check_even(message, "width")
        shape = (message.height, message.width, 2)
        return bgr_from_packed_yuv(_rows_of(message, 2).reshape(shape), encoding)
    if encoding in HALF_CHROMA_YUV:
        _check_even(message, "width", "height")
        half_rows = _plane(message, message.height * 3 // 2, message.width)
        return bgr_from_half_chroma_yuv(half_rows, encoding)
    luma = _plane(message, message.height, message.width)
    start, step = message.step * message.height, 2 * message.step
    chroma = _plane(message, message.height, 2 * message.width, start, step)
    return bgr_from_full_chroma_yuv(luma, chroma.reshape(*luma.shape, 2))


def bgr_from_message(message: Image | CompressedImage) -> np.ndarray:
    """Decode a raw or compressed image.

    Returns:
        (H, W, 3) uint8 in BGR order; may be a read-only view of the message's data.

    Raises:
        ImageError: If the image cannot be decoded.
    """
    if isinstance(message, CompressedImage):
        return bgr_from_compressed(message)
    return bgr_from_image(message)


def image_from_bgr(bgr: np.ndarray, header: Header) -> Image:
    """Make a `bgr8` image message.

    Args:
        bgr: (H, W, 3) uint8.
        header: Header of the message.
    """
    height, width = bgr.shape[:2]
    message = Image(
        header=header, height=height, width=width, encoding="bgr8", is_bigendian=0, step=width * 3
    )
    # rclpy checks every value of other sequences.
    message.data = array.array("B", np.ascontiguousarray(bgr).tobytes())
    return message


def jpeg_from_bgr(bgr: np.ndarray, header: Header, quality: int) -> CompressedImage:
    """Make a JPEG-compressed image message.

    Args:
        bgr: (H, W, 3) uint8.
        header: Header of the message.
        quality: From 1 to 100.

    Raises:
        ImageError: If the image is empty or too large for JPEG.
    """
    message = CompressedImage(header=header, format="bgr8; jpeg compressed bgr8")
    message.data = array.array("B", encode_image(bgr, ".jpg", quality))
    return message


def image_from_depth(millimeters: np.ndarray, header: Header) -> Image:
    """Make a `16UC1` depth image message.

    Args:
        millimeters: (H, W) uint16; 0 for holes.
        header: Header of the message.
    """
    height, width = millimeters.shape
    message = Image(
        header=header, height=height, width=width, encoding="16UC1", is_bigendian=0, step=width * 2
    )
    message.data = array.array("B", millimeters.astype("<u2").tobytes())
    return message


def depth_from_image(message: Image) -> np.ndarray:
    """Decode a depth image: `16UC1` (or `mono16`) in millimeters, `32FC1` in meters.

    Returns:
        (H, W) float32, meters along the optical axis; 0, NaN and infinity are holes.

    Raises:
        ImageError: If the image is empty, its data too short or its encoding not depth.
    """
    if message.encoding not in _DEPTH_ENCODINGS:
        raise ImageError(
            f"encoding {message.encoding!r} is not depth; use {', '.join(_DEPTH_ENCODINGS)} "
            "(decompress compressed depth with image_transport republish)"
        )
    code, meters = _DEPTH_ENCODINGS[message.encoding]
    dtype = np.dtype(code).newbyteorder(">" if message.is_bigendian else "<")
    rows = np.ascontiguousarray(_rows_of(message, dtype.itemsize))
    return rows.view(dtype).astype(np.float32) * np.float32(meters)


def _rows_of(message: Image, pixel_bytes: int) -> np.ndarray:
    """View the bytes of an image without the padding of rows.

    Args:
        message: Image.
        pixel_bytes: Bytes per pixel.

    Returns:
        (H, W * pixel_bytes) uint8, a view of the message's data.

    Raises:
        ImageError: If the image is empty or its data too short.
    """
    return _plane(message, message.height, message.width * pixel_bytes)


def _plane(
    message: Image, rows: int, row_bytes: int, start: int = 0, step: int | None = None
) -> np.ndarray:
    """View a plane of an image without the padding of rows.

    Args:
        message: Image.
        rows: Number of rows.
        row_bytes: Bytes of the pixels of a row.
        start: Offset of the first row.
        step: Bytes from one row to the next; None for `step` of the message.

    Returns:
        (rows, row_bytes) uint8, a view of the message's data.

    Raises:
        ImageError: If the image is empty or its data too short.
    """
    step = message.step if step is None else step
    if message.width == 0 or message.height == 0:
        raise ImageError(f"the image is empty: {message.width} x {message.height} pixels")
    if step < row_bytes:
        raise ImageError(
            f"step is {step} bytes, but {message.width} pixels of {message.encoding} "
            f"take {row_bytes}"
        )
    # The last row may lack its padding.
    needed = start + step * (rows - 1) + row_bytes
    if len(message.data) < needed:
        raise ImageError(
            f"the image has {len(message.data)} bytes, but {message.height} rows of "
            f"{message.step} bytes take {needed}"
        )
    data = np.frombuffer(message.data, np.uint8)[start:]
    return np.lib.stride_tricks.as_strided(data, (rows, row_bytes), (step, 1), writeable=False)


def _pixels(message: Image, encoding: PixelEncoding) -> np.ndarray:
    """Pixels (H, W) or (H, W, C) in native byte order."""
    rows = np.ascontiguousarray(_rows_of(message, encoding.pixel_bytes))
    stored = encoding.dtype.newbyteorder(">" if message.is_bigendian else "<")
    values = rows.view(stored).astype(encoding.dtype, copy=False)
    if encoding.channels == 1:
        return values
    return values.reshape(message.height, message.width, encoding.channels)


def _check_even(message: Image, *sides: str) -> None:
    for side in sides:
        if getattr(message, side) % 2:
            raise ImageError(
                f"{message.encoding} stores colors for pairs of pixels, but the {side} is "
                f"{getattr(message, side)}; set an even {side} in the camera driver"
            )
