# SPDX-License-Identifier: Apache-2.0
"""Buffer of a sensor's latest measurements, searched by stamp."""

from __future__ import annotations

from typing import Generic, TypeVar

from mrmllm_ros.detection.stamps import jumps_back

T = TypeVar("T")


class StampedBuffer(Generic[T]):
    """Bounded buffer of measurements, sorted by stamp.

    A measurement more than a second before the newest one means that time has restarted, as with
    a simulated clock or a bag: later measurements are dropped. See `jumps_back`.

    Example:
        >>> buffer = StampedBuffer()
        >>> [buffer.put(stamp_ns, f"at {stamp_ns}", capacity=10) for stamp_ns in (100, 200)]
        [False, False]
        >>> buffer.nearest(180, tolerance_ns=50)
        'at 200'
    """

    def __init__(self) -> None:
        self._measurements: dict[int, T] = {}

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest measurement; None if the buffer is empty."""
        return next(reversed(self._measurements), None)

    def put(self, stamp_ns: int, measurement: T, capacity: int) -> bool:
        """Add a measurement.

        Args:
            stamp_ns: Stamp in nanoseconds.
            measurement: Measurement.
            capacity: Maximum number of measurements; the oldest are dropped.

        Returns:
            Whether time has jumped back.
        """
        jumped = jumps_back(stamp_ns, self.newest_ns)
        later = {}
        while self._measurements and self.newest_ns >= stamp_ns:
            later_ns, later_measurement = self._measurements.popitem()
            later[later_ns] = later_measurement
        self._measurements[stamp_ns] = measurement
        if not jumped:
            later.pop(stamp_ns, None)
            self._measurements.update(reversed(later.items()))
        while len(self._measurements) > capacity:
            del self._measurements[next(iter(self._measurements))]
        return jumped

    def nearest(self, stamp_ns: int, tolerance_ns: int) -> T | None:
        """Measurement nearest in time; None if none is within the tolerance."""
        stamp = min(self._measurements, key=lambda other: abs(other - stamp_ns), default=None)
        if stamp is None or abs(stamp - stamp_ns) > tolerance_ns:
            return None
        return self._measurements[stamp]
