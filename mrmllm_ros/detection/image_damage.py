# SPDX-License-Identifier: Apache-2.0
"""Search for damage in JPEG and PNG files that decoders pass over in silence.

libjpeg fills the part of an image that it cannot decode with gray, prints a warning and reports
success. OpenCV and Pillow pass this image on.
"""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES = 25
_DHT, _SOI, _EOI, _SOS, _DQT, _DRI = 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD
# Huffman-coded sequential frames. Progressive frames have several scans and are not examined.
_SEQUENTIAL_FRAMES = (0xC0, 0xC1)
_OTHER_FRAMES = frozenset(range(0xC2, 0xD0)) - {_DHT, 0xC8, 0xCC}
_RESTARTS = range(0xD0, 0xD8)
_MARKER = re.compile(rb"\xff([\x01-\xfe])")
# Some USB cameras send a few bytes too many at the end of a scan or a restart interval.
_MAX_EXCESS_BYTES = 16
# Bits that are all 1 belong to no Huffman code; libjpeg reads up to 8 bytes ahead.
_READ_AHEAD = b"\xff\x00" * 8
# More intervals take too long, and damage in one of them spoils little of the image.
_MAX_INTERVALS = 160
_MAX_SIDE = 65500  # libjpeg's limit.
# Pillow takes larger images for an attack.
_MAX_PIXELS = 80_000_000


def find_damage(data: bytes) -> str:
    """Find out whether the data of a JPEG or PNG image is damaged or incomplete.

    A JPEG has no checksum: changed bits that leave the number of coded blocks as it was cannot be
    found, nor can damage between close restart markers. Progressive JPEG files, very large ones
    and images of other types are not examined.

    Args:
        data: A whole image file.

    Returns:
        A description of the damage; empty if none is found.
    """
    if data.startswith(_PNG_SIGNATURE):
        return _png_damage(data)
    if data.startswith(bytes([0xFF, _SOI])):
        return _jpeg_damage(data)
    return ""


def _png_damage(data: bytes) -> str:
    start = len(_PNG_SIGNATURE)
    if len(data) < start + _PNG_HEADER_BYTES:
        return ""  # Not an image at all.
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        name = data[start + 4 : start + 8]
        if end > len(data):
            break
        checksum = int.from_bytes(data[end - 4 : end], "big")
        if zlib.crc32(memoryview(data)[start + 4 : end - 4]) != checksum:
            return f"the checksum of the PNG chunk {name!r} at byte {start} is wrong"
        if name == b"IEND":
            return ""
        start = end
    return f"the PNG file ends too early, after {len(data)} bytes"


@dataclass(frozen=True)
class _Scan:
    """The only scan of a sequential JPEG image.

    Attributes:
        tables: Quantization and Huffman tables as they stand in the file.
        frame: Content of the frame header.
        header: The scan header with its marker.
        restart_interval: Minimum coded units from one restart marker to the next, 0 without them.
        start: Position of the coded data.
    """

    tables: bytes
    frame: bytes
    header: bytes
    restart_interval: int
    start: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int.from_bytes(self.frame[3:5], "big"), int.from_bytes(self.frame[1:3], "big")

    @property
    def unit_size(self) -> tuple[int, int]:
        """Width and height of a minimum coded unit in pixels."""
        if self.frame[5] == 1:
            return 8, 8
        factors = self.frame[7::3]
        return 8 * max(f >> 4 for f in factors), 8 * max(f & 15 for f in factors)

    def with_size(self, size: tuple[int, int]) -> bytes:
        """The beginning of a JPEG image of another size, without restart intervals."""
        width, height = size
        frame = self.frame[:1] + height.to_bytes(2, "big") + width.to_bytes(2, "big")
        return (
            bytes([0xFF, _SOI])
            + self.tables
            + _segment(_SEQUENTIAL_FRAMES[1], frame + self.frame[5:])
            + self.header
        )


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def _jpeg_damage(data: bytes) -> str:
    scan = _read_headers(data)
    if scan is None or math.prod(scan.size) > _MAX_PIXELS:
        return ""
    intervals: list[bytes] = []
    start = scan.start
    for match in _MARKER.finditer(data, scan.start):
        marker = match[1][0]
        intervals.append(data[start : match.start()].rstrip(b"\xff"))
        start = match.end()
        if marker == _EOI:
            break
        if marker in (_SOS, _DHT, _DQT):
            return ""  # Several scans.
        if not scan.restart_interval or marker != _RESTARTS[(len(intervals) - 1) % 8]:
            return f"unexpected JPEG marker 0x{marker:02x} at byte {match.start()}"
    else:
        return "the JPEG data has no end marker"
    sizes = list(_interval_sizes(scan))
    if len(intervals) != len(sizes):
        return f"the JPEG data has {len(intervals)} restart intervals in place of {len(sizes)}"
    if len(sizes) > _MAX_INTERVALS or max(map(max, sizes)) > _MAX_SIDE:
        return ""
    for size, interval in zip(sizes, intervals, strict=True):
        if damage := _interval_damage(scan.with_size(size), interval):
            return damage
    return ""


def _read_headers(data: bytes) -> _Scan | None:
    """Read up to the first scan; None if the image has no single sequential scan."""
    at, tables, frame, restart_interval = 2, b"", b"", 0
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # A fill byte.
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        content = data[at + 4 : end]
        if marker in _SEQUENTIAL_FRAMES and len(content) >= 9:
            frame = content
        elif marker in _OTHER_FRAMES:
            return None
        elif marker in (_DHT, _DQT):
            tables += data[at:end]
        elif marker == _DRI:
            restart_interval = int.from_bytes(content[:2], "big")
        elif marker == _SOS:
            complete = frame and content[:1] == frame[5:6]
            header = data[at:end]
            return _Scan(tables, frame, header, restart_interval, end) if complete else None
        at = end
    return None


def _interval_sizes(scan: _Scan) -> Iterator[tuple[int, int]]:
    """Widths and heights of images of as many coded units as each restart interval has."""
    (width, height), (unit_width, unit_height) = scan.size, scan.unit_size
    columns, rows = -(-width // unit_width), -(-height // unit_height)
    left, interval = columns * rows, scan.restart_interval
    if not interval or interval >= left:
        yield width, height
        return
    while left > 0:
        units = min(interval, left)
        left -= units
        if units % columns == 0:
            yield width, units // columns * unit_height
        else:
            yield units * unit_width, unit_height


class _TwoPartFile(io.BytesIO):
    """A file of which a reader gets the end only if it asks for more than the rest.

    Attributes:
        end_read: Whether the reader has asked for the end.
    """

    def __init__(self, beginning: bytes, end: bytes) -> None:
        super().__init__(beginning + end)
        self._split = len(beginning)
        self.end_read = False

    def read(self, size: int | None = -1) -> bytes:
        """See `io.BytesIO.read`."""
        left = self._split - self.tell()
        if left <= 0:
            self.end_read = True
        elif size is None or size < 0 or size > left:
            size = left
        return super().read(size)


def _interval_damage(header: bytes, coded: bytes) -> str:
    """Decode coded data to learn whether the image ends where the data ends."""
    split = max(0, len(coded) - _MAX_EXCESS_BYTES)
    file = _TwoPartFile(header + coded[:split], coded[split:] + _READ_AHEAD)
    try:
        with Image.open(file) as image:
            # The least work beside reading the codes.
            image.draft("L", (1, 1))
            image.load()
    except (OSError, SyntaxError) as error:
        return f"the JPEG data is incomplete or damaged ({error})"
    if split and not file.end_read:
        return f"the JPEG data is damaged: at least {len(coded) - split} bytes are left over"
    return ""
