# SPDX-License-Identifier: Apache-2.0
"""Order of the stamps of a sensor: small steps back are jitter, large ones a restart of time."""

from __future__ import annotations

# Stamps of drivers jitter, clocks are corrected, and messages overtake each other, all by less;
# a bag that restarts and a simulation that is reset go back further.
JUMP_BACK_NS = 10**9


def jumps_back(stamp_ns: int, newest_ns: int | None) -> bool:
    """Whether a stamp is so far before the newest one that time has started over.

    Args:
        stamp_ns: The stamp in nanoseconds.
        newest_ns: The newest stamp so far; None where there is none.
    """
    return newest_ns is not None and newest_ns - stamp_ns > JUMP_BACK_NS


class StampSequence:
    """Time that passes from one stamp to the next.

    Example:
        >>> stamps = StampSequence()
        >>> [stamps.advance(ms * 10**6) for ms in (5000, 5100, 5095, 5200, 2000, 2100)]
        [0, 100000000, 0, 100000000, -3200000000, 100000000]
    """

    def __init__(self) -> None:
        self._newest_ns: int | None = None

    def advance(self, stamp_ns: int) -> int:
        """Take the next stamp.

        Args:
            stamp_ns: The stamp in nanoseconds.

        Returns:
            Nanoseconds since the newest stamp. 0 for the first stamp and where the stamp steps
            back by no more than `JUMP_BACK_NS`, for then no time has passed. Negative where it
            jumps back further; later stamps are compared with it then.
        """
        if self._newest_ns is None:
            self._newest_ns = stamp_ns
        step_ns = stamp_ns - self._newest_ns
        if 0 > step_ns >= -JUMP_BACK_NS:
            return 0
        self._newest_ns = stamp_ns
        return step_ns
