# SPDX-License-Identifier: Apache-2.0
import json

import cv2
import pytest
from labeled_fixtures import rendered

from mrmllm_ros.datasets import feature_cache
from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.training import run
from mrmllm_ros.training.leg import Leg, UnfinishedError
from mrmllm_ros.training.run import FrozenModels, frame_source, load_sources
from mrmllm_ros.training.training_settings import (
    BackboneChoice,
    SourceSettings,
    TrainingSettings,
)
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


class TestRenderedScenes:
    @pytest.fixture
    def load(self, monkeypatch, tmp_path, bus_image, language_model, detector):
        """Function that loads a folder of rendered scenes as the only source."""
        monkeypatch.setattr(feature_cache, "cache_folder", lambda: tmp_path / "cache")
        (tmp_path / "yard").mkdir()
        street = cv2.resize(bus_image, (405, 540), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(tmp_path / "yard" / "street.png"), street)
        annotations = tmp_path / "annotations.json"
        annotations.write_text(json.dumps(rendered()))

        def load(lines, leg=None, feature_cache_gb=1.0, **options):
            coco = {"share": 1.0, "annotations": str(annotations), "views": 2, **options}
            data = {"synthetic": {"share": 0.0}, "coco": coco}
            settings = TrainingSettings.from_mapping(
                {"data": data, "feature_cache_gb": feature_cache_gb}
            )
            models = FrozenModels(BackboneChoice(), Backbones(language_model, detector))
            sources = load_sources(settings, models, lines.append, leg or Leg(0.0))
            return sources["coco"].example

        return load

    def asked(self, example):
        return {q.family for number in range(40) for q in example(number).questions}

    def test_a_folder_needs_only_the_name_of_its_annotations(self, load):
        lines = []
        example = load(lines)
        assert lines == [
            "coco: features: 1 of 1 images, 0 of them from earlier runs",
            "coco: 2 examples",
        ]
        assert example(0).scene.annotation.place == "kitchen"
        assert {"missed", "place"}.isdisjoint(self.asked(example))
        load(lines)
        assert lines[2] == "coco: features: 1 of 1 images, 1 of them from earlier runs"

    def test_missed_objects_and_places_are_asked_about_with_their_shares(self, load):
        example = load([], missed_questions=0.3, place_questions=0.3, questions=4)
        assert {"missed", "place"} <= self.asked(example)
        assert max(len(example(number).questions) for number in range(20)) == 4

    def test_a_leg_may_end_while_features_are_computed_and_continues(self, load):
        with pytest.raises(UnfinishedError, match=r"while computing the features of .*json"):
            load([], Leg(1e-9))
        lines = []
        load(lines, Leg(1e-9))
        assert lines[0].endswith("1 of them from earlier runs")

    def test_without_a_cache_features_are_computed_in_one_leg(self, load, tmp_path):
        load([], Leg(1e-9), feature_cache_gb=0.0)
        assert not (tmp_path / "cache").exists()
