# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.atomic_files import atomic_file, move_into_place


@pytest.mark.parametrize("durable", [False, True])
def test_a_complete_file_replaces_the_old_one(tmp_path, durable):
    path = tmp_path / "state.pt"
    path.write_text("old")
    with atomic_file(path, durable=durable) as written:
        assert (written.parent, written.suffix) == (tmp_path, ".pt")
        written.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "state.pt"
    path.write_text("old")

    def write():
        with atomic_file(path) as written:
            written.write_text("half")
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_one_path_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "scores.npz"
    with atomic_file(path) as first, atomic_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with atomic_file(tmp_path / "link") as written:
        written.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_a_device_is_written_directly(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), atomic_file(tmp_path / "full") as written:
        written.write_text("new")


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "none" / "file") as written:
        written.write_text("new")


def test_a_folder_is_replaced_and_the_old_one_kept_aside(tmp_path):
    old, new = tmp_path / "model", tmp_path / "temporary" / "result"
    for folder, text in ((old, "old"), (new, "new")):
        folder.mkdir(parents=True)
        (folder / "weights").write_text(text)
    move_into_place(new, old, durable=True)
    assert (old / "weights").read_text() == "new"
    assert (tmp_path / "temporary" / "result.replaced" / "weights").read_text() == "old"
