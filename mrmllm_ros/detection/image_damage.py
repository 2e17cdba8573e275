# SPDX-License-Identifier: Apache-2.0
"""Find damage in JPEG and PNG files that decoders do not report.

libjpeg fills the part of an image that it cannot decode with gray, prints a warning and reports
success; OpenCV and Pillow return such an image.
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
# Some USB cameras append a few bytes to a scan or a restart interval.
_MAX_EXCESS_BYTES = 16
# No Huffman code consists of ones only; libjpeg reads up to 8 bytes ahead.
_READ_AHEAD = b"\xff\x00" * 8
# More intervals take too long to check, and damage in one affects little of the image.
_MAX_INTERVALS = 160
_MAX_SIDE = 65500  # limit of libjpeg
_MAX_PIXELS = 80_000_000  # Pillow rejects larger images as a possible attack


def find_damage(data: bytes) -> str:
    """Check whether a JPEG or PNG file is damaged or incomplete.

    A JPEG has no checksum: changed bits that keep the number of coded blocks are not found, nor
    is damage between close restart markers. Progressive and very large JPEG files and other types
    of images are not checked.

    Args:
        data: Content of the file.

    Returns:
        Description of the damage; empty if none is found.
    """
    if data.startswith(_PNG_SIGNATURE):
        return _png_damage(data)
    if data.startswith(bytes([0xFF, _SOI])):
        return _jpeg_damage(data)
    return ""


def _png_damage(data: bytes) -> str:
    start = len(_PNG_SIGNATURE)
    if len(data) < start + _PNG_HEADER_BYTES:
        return ""  # not an image
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
    return f"the PNG file is truncated after {len(data)} bytes"


@dataclass(frozen=True)
class _Scan:
    """The only scan of a sequential JPEG image.

    Attributes:
        tables: Segments of the quantization and Huffman tables.
        frame: Content of the frame header.
        header: Scan header with its marker.
        restart_interval: Minimum coded units between restart markers; 0 without markers.
        start: Offset of the coded data.
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
        """Headers of a JPEG image of another size, without restart intervals."""
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
            return ""  # several scans
        if not scan.restart_interval or marker != _RESTARTS[(len(intervals) - 1) % 8]:
            return f"unexpected JPEG marker 0x{marker:02x} at byte {match.start()}"
    else:
        return "the JPEG data has no end marker"
    sizes = list(_interval_sizes(scan))
    if len(intervals) != len(sizes):
        return f"the JPEG data has {len(intervals)} restart intervals, expected {len(sizes)}"
    if len(sizes) > _MAX_INTERVALS or max(map(max, sizes)) > _MAX_SIDE:
        return ""
    for size, interval in zip(sizes, intervals, strict=True):
        if damage := _interval_damage(scan.with_size(size), interval):
            return damage
    return ""


def _read_headers(data: bytes) -> _Scan | None:
    """Parse the headers before the first scan; None unless there is a single sequential scan."""
    at, tables, frame, restart_interval = 2, b"", b"", 0
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
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
    """For each restart interval, width and height of an image with the same number of units."""
    (width, height), (unit_width, unit_height) = scan.size, scan.unit_size
    columns, rows = -(-width // unit_width), -(-height // unit_height)
    remaining, interval = columns * rows, scan.restart_interval
    if not interval or interval >= remaining:
        yield width, height
        return
    while remaining > 0:
        units = min(interval, remaining)
        remaining -= units
        if units % columns == 0:
            yield width, units // columns * unit_height
        else:
            yield units * unit_width, unit_height


class _TwoPartFile(io.BytesIO):
    """File that records whether its second part is read.

    Attributes:
        end_read: Whether the second part has been read.
    """

    def __init__(self, beginning: bytes, end: bytes) -> None:
        super().__init__(beginning + end)
        self._split = len(beginning)
        self.end_read = False

    def read(self, size: int | None = -1) -> bytes:
        """See `io.BytesIO.read`."""
        remaining = self._split - self.tell()
        if remaining <= 0:
            self.end_read = True
        elif size is None or size < 0 or size > remaining:
            size = remaining
        return super().read(size)


def _interval_damage(header: bytes, coded: bytes) -> str:
    """Decode an interval and check that the image ends where the data ends."""
    split = max(0, len(coded) - _MAX_EXCESS_BYTES)
    file = _TwoPartFile(header + coded[:split], coded[split:] + _READ_AHEAD)
    try:
        with Image.open(file) as image:
            image.draft("L", (1, 1))  # the fastest mode that reads all codes
            image.load()
    except (OSError, SyntaxError) as error:
        return f"the JPEG data is incomplete or damaged ({error})"
    if split and not file.end_read:
        return f"the JPEG data is damaged: at least {len(coded) - split} bytes are unused"
    return ""
