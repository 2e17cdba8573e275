# SPDX-License-Identifier: Apache-2.0
"""Image messages to and from (H, W, 3) uint8 arrays in BGR order."""

from __future__ import annotations

import array

import cv2
import numpy as np
from cv_bridge import CvBridge, CvBridgeError
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mrmllm_ros.perception.images import ImageError, decode_image

_BRIDGE = CvBridge()


def bgr_from_image(message: Image) -> np.ndarray:
    """Decode an image of any colour encoding that cv_bridge knows.

    The message is checked first: cv_bridge trusts it. Padding at the end of rows (`step`) is cut
    off, for not every cv_bridge does so.

    Returns:
        (H, W, 3) uint8 in BGR order; it may share the message's memory.

    Raises:
        ImageError: If the image is empty, shorter than it says, or of an unknown encoding.
    """
    itemsize, rows = _checked_rows(message)
    packed = Image(
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        # The order of bytes means nothing where a value is one byte.
        is_bigendian=message.is_bigendian if itemsize > 1 else 0,
        step=rows.shape[1],
    )
    padded = len(message.data) != rows.size
    packed.data = array.array("B", rows.tobytes()) if padded else message.data
    try:
        return _BRIDGE.imgmsg_to_cv2(packed, "bgr8")
    except (CvBridgeError, cv2.error, AttributeError, TypeError, ValueError, KeyError) as error:
        # AttributeError: cv_bridge's wheel on swapped bytes, with NumPy 2.
        raise ImageError(f"encoding {message.encoding!r} has no colours: {error}") from error


def bgr_from_message(message: Image | CompressedImage) -> np.ndarray:
    """Decode a raw or a compressed image.

    Returns:
        (H, W, 3) uint8 in BGR order.

    Raises:
        ImageError: If the image cannot be used.
    """
    if isinstance(message, CompressedImage):
        return decode_image(message.data)
    return bgr_from_image(message)


def image_from_bgr(bgr: np.ndarray, header: Header) -> Image:
    """Make a `bgr8` image message.

    Args:
        bgr: (H, W, 3) uint8.
        header: Taken over as it is.
    """
    height, width = bgr.shape[:2]
    message = Image(
        header=header, height=height, width=width, encoding="bgr8", is_bigendian=0, step=width * 3
    )
    # An array is taken over as it is; bytes would be checked one by one.
    message.data = array.array("B", np.ascontiguousarray(bgr).tobytes())
    return message


def jpeg_from_bgr(bgr: np.ndarray, header: Header, quality: int) -> CompressedImage:
    """Make a JPEG-compressed image message.

    Args:
        bgr: (H, W, 3) uint8.
        header: Taken over as it is.
        quality: From 1 to 100.
    """
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(header=header, format="bgr8; jpeg compressed bgr8")
    message.data = array.array("B", encoded.tobytes())
    return message


def rows_of(message: Image, pixel_bytes: int) -> np.ndarray:
    """The bytes of an image, without what is behind the pixels of each row.

    Args:
        message: Any image.
        pixel_bytes: Size of a pixel.

    Returns:
        (H, W * pixel_bytes) uint8, a view of the message's data.

    Raises:
        ImageError: If the image is empty or shorter than it says.
    """
    if message.width == 0 or message.height == 0:
        raise ImageError(f"the image is empty: {message.width} x {message.height} pixels")
    row_bytes = message.width * pixel_bytes
    if message.step < row_bytes:
        raise ImageError(
            f"step is {message.step} bytes, but {message.width} pixels of {message.encoding} "
            f"take {row_bytes}"
        )
    # The last row may lack its padding.
    needed = message.step * (message.height - 1) + row_bytes
    if len(message.data) < needed:
        raise ImageError(
            f"the image has {len(message.data)} bytes, but {message.height} rows of "
            f"{message.step} bytes take {needed}"
        )
    data = np.frombuffer(message.data, np.uint8)
    shape, strides = (message.height, row_bytes), (message.step, 1)
    return np.lib.stride_tricks.as_strided(data, shape, strides, writeable=False)


def _checked_rows(message: Image) -> tuple[int, np.ndarray]:
    """Bytes of a value, and what `rows_of` gives."""
    try:
        dtype, channels = _BRIDGE.encoding_to_dtype_with_channels(message.encoding)
    except (CvBridgeError, TypeError, ValueError, KeyError) as error:
        raise ImageError(f"unknown encoding {message.encoding!r}") from error
    itemsize = np.dtype(dtype).itemsize
    return itemsize, rows_of(message, channels * itemsize)
