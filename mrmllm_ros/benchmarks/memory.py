# SPDX-License-Identifier: Apache-2.0
"""Memory of a process."""

from __future__ import annotations

import resource
from pathlib import Path


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)
