# SPDX-License-Identifier: Apache-2.0
"""Convert compressed image messages to (H, W, 3) uint8 arrays in BGR order.

compressed_image_transport sets `CompressedImage.format` to `ENCODING; CODEC compressed [STORED]`:
encoding of the raw image, codec, encoding of the pixels in the file. Other drivers set only the
codec, or nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CompressedImage

from mrmllm_ros.detection.images import ImageError, decode_pixels
from mrmllm_ros.detection.pixel_encodings import (
    PIXEL_ENCODINGS,
    bgr_from_pixels,
    check_encoding,
    is_numeric,
)

_COLOR_TOPIC = "use the color image's topic"
_REPUBLISH = "let `image_transport republish` decode it, and use image_transport: raw"
# Codecs whose data is not an image file: reason and fix.
_OTHER_CODECS = {
    "compresseddepth": f"is a depth image; {_COLOR_TOPIC}",
    "rvl": f"is a depth image; {_COLOR_TOPIC}",
    **dict.fromkeys(
        ("h264", "h265", "hevc", "avc", "av1", "vp8", "vp9", "ffmpeg", "theora"),
        f"is a video stream, which cannot be decoded image by image; {_REPUBLISH}",
    ),
    **dict.fromkeys(("zstd", "draco", "cloudini"), f"is not supported; {_REPUBLISH}"),
}
_JPEG_SIGNATURE = b"\xff\xd8"


@dataclass(frozen=True)
class ImageFormat:
    """The parts of `CompressedImage.format`.

    Attributes:
        encoding: Encoding of the raw image; empty if the format does not name it.
        codec: Codec, for example `jpeg`; empty if the format does not name it.
        stored: Encoding of the pixels in the file; empty if the format does not name it.

    Example:
        >>> ImageFormat.parse("rgb8; jpeg compressed bgr8")
        ImageFormat(encoding='rgb8', codec='jpeg', stored='bgr8')
        >>> ImageFormat.parse("png")
        ImageFormat(encoding='', codec='png', stored='')
    """

    encoding: str
    codec: str
    stored: str

    @classmethod
    def parse(cls, text: str) -> ImageFormat:
        """Parse a format.

        Raises:
            ImageError: If the codec is not supported.
        """
        for word in re.findall(r"[a-z0-9]+", text.lower()):
            if word in _OTHER_CODECS:
                raise ImageError(f"compressed format {text!r} {_OTHER_CODECS[word]}")
        encoding, separator, rest = (part.strip() for part in text.partition(";"))
        encoding = encoding.upper() if is_numeric(encoding.upper()) else encoding.lower()
        if not separator and encoding not in PIXEL_ENCODINGS and not is_numeric(encoding):
            return cls("", encoding, "")
        codec, _, stored = (part.strip() for part in rest.lower().partition("compressed"))
        return cls(encoding, codec, stored)


def bgr_from_compressed(message: CompressedImage) -> np.ndarray:
    """Decode a compressed image to the same colors as the raw image.

    An EXIF orientation is ignored. If format and file differ, the file decides: gray data stays
    gray.

    Returns:
        (H, W, 3) uint8 in BGR order.

    Raises:
        ImageError: If the data is not an image or damaged, or the raw image has no colors.
    """
    image_format = ImageFormat.parse(message.format)
    try:
        if is_numeric(image_format.encoding) and not _names_colors(image_format):
            check_encoding(image_format.encoding)
        pixels = decode_pixels(message.data)
        return _to_bgr(pixels, image_format, bytes(message.data[:2]) == _JPEG_SIGNATURE)
    except ImageError as error:
        raise ImageError(f"compressed format {message.format!r}: {error}") from error


def _names_colors(image_format: ImageFormat) -> bool:
    """Whether the format of numeric pixels (`8UC3`) names the colors in the file."""
    return image_format.encoding.startswith("8UC") and image_format.stored in PIXEL_ENCODINGS


def _to_bgr(pixels: np.ndarray, image_format: ImageFormat, is_jpeg: bool) -> np.ndarray:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4):
        raise ImageError(f"the file has no colors but {channels} x {pixels.dtype} per pixel")
    if channels > 1:
        order = "rgb" if _is_swapped(image_format) else "bgr"
        alpha = "a" if channels == 4 else ""
        return bgr_from_pixels(pixels, f"{order}{alpha}{8 * pixels.itemsize}")
    encoding = image_format.encoding
    # compressed_image_transport stores a Bayer image as pattern, or as gray in a JPEG.
    if encoding.startswith("bayer") and not (is_jpeg and image_format.stored.startswith("mono")):
        check_encoding(encoding)
        return bgr_from_pixels(pixels, encoding)
    if pixels.dtype == np.uint16 and encoding not in PIXEL_ENCODINGS:
        raise ImageError(
            "the file has 16-bit gray values, which may be depth; begin the format with the "
            "encoding of the raw image, for example 'mono16; png compressed '"
        )
    return bgr_from_pixels(pixels, f"mono{8 * pixels.itemsize}")


def _is_swapped(image_format: ImageFormat) -> bool:
    """Whether red and blue are swapped in the file.

    OpenCV's encoders expect BGR. compressed_image_transport names the order, except for TIFF,
    where it does not convert either.
    """
    if image_format.stored:
        return image_format.stored.startswith("rgb")
    return image_format.codec == "tiff" and image_format.encoding.startswith("rgb")
