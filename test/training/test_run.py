# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.training import run
from mrmllm_ros.training.run import frame_source
from mrmllm_ros.training.training_settings import SourceSettings
from mrmllm_ros.weights import WeightsError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Folder in which a sample's files are, whatever its name."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "manifest.json").touch()
    monkeypatch.setattr(run, "locate", lambda name: folder)
    return folder


def test_a_sample_video_is_found_by_its_name(cache):
    (cache / "bikes.mp4").touch()
    source = frame_source(SourceSettings(path="bikes", first=3, step=2))
    assert (source.path, source.name) == (cache / "bikes.mp4", "bikes.mp4")
    assert (source.first, source.last, source.step) == (3, None, 2)


def test_sample_photographs_are_a_folder(cache):
    (cache / "a.jpg").touch()
    assert frame_source(SourceSettings(path="landscapes")).path == cache


def test_a_sample_that_was_not_fetched_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("MRMLLM_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="mrmllm models fetch landscapes"):
        frame_source(SourceSettings(path="landscapes"))


def test_a_folder_of_ones_own_may_bear_the_name_of_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nanodet-g").mkdir()
    assert frame_source(SourceSettings(path="nanodet-g", last=9)).last == 9


@pytest.mark.parametrize("path", ["", "none.mp4"])
def test_what_is_not_there_is_refused(path):
    with pytest.raises(DataError, match=r"data\.frames\.sources: .* is no file"):
        frame_source(SourceSettings(path=path))
