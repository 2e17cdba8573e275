# SPDX-License-Identifier: Apache-2.0
"""Replace files and folders as a whole, so that no reader finds an incomplete one."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Write a file that replaces `path` when it is complete.

    The file has a unique name in the same folder meanwhile, so that several processes can write
    the same path. A link is followed; a device or a pipe is written directly.

    Args:
        path: The file; its folder must exist.
        durable: Whether the file must survive a power failure after the replacement.

    Yields:
        Path to write to, with the suffix of `path`. Without an exception it replaces `path`,
        otherwise it is removed.

    Raises:
        OSError: If the folder or the existing file is not writable.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        yield target
        return
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    temporary = target.with_name(f".{uuid.uuid4().hex}{target.suffix}")
    try:
        yield temporary
        move_into_place(temporary, target, durable=durable)
    finally:
        temporary.unlink(missing_ok=True)


def move_into_place(source: Path, target: Path, *, durable: bool = False) -> None:
    """Rename a complete file or folder, replacing an existing one.

    Args:
        source: File or folder in the file system of `target`. A replaced folder is kept beside
            it, with the suffix `.replaced`.
        target: Final path.
        durable: Whether the target must survive a power failure after this call.
    """
    if durable:
        for path in [*(source.rglob("*") if source.is_dir() else ()), source]:
            _sync(path)
    if target.is_dir():
        target.rename(source.with_name(f"{source.name}.replaced"))
    source.replace(target)
    if durable:
        _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
