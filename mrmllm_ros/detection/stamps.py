# SPDX-License-Identifier: Apache-2.0
"""Order of a sensor's stamps: small backward steps are jitter, large ones a restart of time."""

from __future__ import annotations

# Jitter, clock corrections and reordered messages are below this; restarted bags and simulations
# jump further back.
JUMP_BACK_NS = 10**9


def jumps_back(stamp_ns: int, newest_ns: int | None) -> bool:
    """Whether time has restarted: a stamp is more than a second before the newest one.

    Args:
        stamp_ns: Stamp in nanoseconds.
        newest_ns: Newest stamp so far; None if there is none.
    """
    return newest_ns is not None and newest_ns - stamp_ns > JUMP_BACK_NS


class StampSequence:
    """Measures the time between stamps.

    Example:
        >>> stamps = StampSequence()
        >>> [stamps.advance(ms * 10**6) for ms in (5000, 5100, 5095, 5200, 2000, 2100)]
        [0, 100000000, 0, 100000000, -3200000000, 100000000]
    """

    def __init__(self) -> None:
        self._newest_ns: int | None = None

    def advance(self, stamp_ns: int) -> int:
        """Add the next stamp, in nanoseconds.

        Returns:
            Nanoseconds since the newest stamp; 0 for the first stamp and for backward steps of
            up to `JUMP_BACK_NS`. Negative for larger jumps, which restart the sequence.
        """
        if self._newest_ns is None:
            self._newest_ns = stamp_ns
        step_ns = stamp_ns - self._newest_ns
        if 0 > step_ns >= -JUMP_BACK_NS:
            return 0
        self._newest_ns = stamp_ns
        return step_ns
