# SPDX-License-Identifier: Apache-2.0
import io

import pytest

from mrmllm_ros.cli.output import OutputError, ProgressLine, make_folder


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_in_place_and_cleared(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with ProgressLine(20, "images") as progress:
        progress.show(8)
        progress.show(16)
    lines = terminal.getvalue().split("\r\x1b[K")
    assert lines == ["", "8 of 20 images", "16 of 20 images", ""]


@pytest.mark.parametrize(("stream", "total"), [(io.StringIO, 20), (Terminal, 1)])
def test_no_progress_is_shown_elsewhere_or_of_one(monkeypatch, stream, total):
    monkeypatch.setattr("sys.stderr", stream())
    with ProgressLine(total, "images") as progress:
        progress.show(1)
        assert progress._shown is False


def test_an_output_folder_is_made_with_those_above_it(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_that_may_not_be_written_to_is_rejected(tmp_path, monkeypatch):
    # The user of the tests may be root.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(OutputError, match="is not writable"):
        make_folder(tmp_path)


@pytest.mark.parametrize("name", ["file", "file/inner", "x" * 300])
def test_a_folder_that_cannot_be_made_is_named(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=name):
        make_folder(tmp_path / name)
