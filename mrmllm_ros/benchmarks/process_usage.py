# SPDX-License-Identifier: Apache-2.0
"""Processor time and memory of a process, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Positions of utime and stime in /proc/PID/stat after the name, which ends with a parenthesis.
_UTIME, _STIME = 11, 12


@dataclass(frozen=True)
class ProcessUsage:
    """Resources that a process has used or holds, all threads together.

    Attributes:
        cpu_s: Processor time in user and system mode since the start, in seconds.
        resident_mib: Resident memory in MiB, with pages of files such as libraries.
        anonymous_mib: Part of the resident memory that is not backed by files, in MiB.
    """

    cpu_s: float
    resident_mib: float
    anonymous_mib: float

    @classmethod
    def of(cls, pid: int) -> ProcessUsage:
        """Measure a running process.

        Raises:
            FileNotFoundError: If there is no such process.
        """
        folder = Path(f"/proc/{pid}")
        stat, status = (folder / "stat").read_text(), (folder / "status").read_text()
        return cls(cpu_seconds(stat), memory_mib(status, "VmRSS"), memory_mib(status, "RssAnon"))


def cpu_seconds(stat: str) -> float:
    """Processor time of all threads, ended ones included.

    Args:
        stat: Content of /proc/PID/stat. The name of the process may contain spaces and
            parentheses.

    Returns:
        Seconds in user and system mode.
    """
    fields = stat.rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / os.sysconf("SC_CLK_TCK")


def memory_mib(status: str, name: str) -> float:
    """Memory in a line of /proc/PID/status.

    Args:
        status: Content of the file.
        name: Name of the line, such as VmRSS.

    Returns:
        MiB; 0 if there is no such line, as for a process that has ended.
    """
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    kib = int(values.get(name, "0").split()[0])
    return round(kib / 1024, 1)
