# SPDX-License-Identifier: Apache-2.0
import os

import numpy as np
import pytest
import torch

from mrmllm_ros.datasets import feature_cache
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.datasets.feature_cache import FeatureCache, ViewFeatures
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import LabelScores, Perception


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(feature_cache, "cache_folder", lambda: tmp_path)
    return tmp_path / "features"


def features(count=2, tokens=4, **parts):
    candidates = Detections(
        xyxy=np.arange(4 * count, dtype=np.float32).reshape(count, 4),
        scores=np.linspace(0.9, 0.1, count, dtype=np.float32),
        labels=("dog",) * count,
        resolution_wh=(64, 48),
    )
    perception = Perception(candidates, 0.3, box_features=torch.ones(count, 3).half())
    example = Example(
        perception=perception,
        attributes=({"color": "red"},) * count,
        questions=(),
        visual=torch.full((tokens, 5), 0.5).half(),
    )
    values = {"novelty": 0.25, "colors": ("red", ""), "depths_m": np.full(count, np.nan)}
    return ViewFeatures(**{"example": example, **values, **parts})


def test_features_are_read_as_they_were_written(folder):
    cache = FeatureCache({"a": 1}, 1e9)
    assert cache.read("image") is None
    cache.write("image", [features(), features(count=0)])
    first, empty = FeatureCache({"a": 1}, 1e9).read("image")
    assert first.colors == ("red", "")
    assert first.novelty == 0.25
    assert np.isnan(first.depths_m).all()
    example = first.example
    assert example.attributes == ({"color": "red"}, {"color": "red"})
    assert torch.equal(example.visual, features().example.visual)
    assert example.perception.reported == 1
    assert example.perception.candidates.labels == ("dog", "dog")
    assert example.perception.candidates.resolution_wh == (64, 48)
    assert example.region_names is None
    assert len(empty.example.perception.candidates) == 0


def test_optional_parts_are_kept(folder):
    made = features()
    scores = LabelScores(("dog", "cat"), np.full((2, 2), 0.5, np.float32))
    perception = Perception(made.example.perception.candidates, 0.3, label_scores=scores)
    example = Example(
        perception=perception,
        attributes=({}, {}),
        questions=(),
        region_names=np.full((2, 7), 0.1, np.float32),
    )
    cache = FeatureCache({}, 1e9)
    cache.write("image", [features(example=example)])
    [read] = cache.read("image")
    assert read.example.perception.label_scores.labels == ("dog", "cat")
    assert read.example.perception.features is None
    assert read.example.visual is None
    np.testing.assert_array_equal(read.example.region_names, example.region_names)


def test_configurations_do_not_share_features(folder):
    FeatureCache({"seed": 1}, 1e9).write("image", [features()])
    assert FeatureCache({"seed": 2}, 1e9).read("image") is None


def test_features_beyond_the_limit_are_not_kept_and_that_is_said_once(folder):
    lines = []
    cache = FeatureCache({}, 5e3, lines.append)
    for name in ("a", "b", "c", "d"):
        cache.write(name, [features(tokens=100)])
    assert sum(file.stat().st_size for file in folder.rglob("*.npz")) <= 5e3
    [line] = lines
    assert "reach feature_cache_gb" in line


def test_a_cache_that_is_full_from_the_start_says_so(folder):
    FeatureCache({}, 1e9).write("image", [features(tokens=100)])
    lines = []
    cache = FeatureCache({}, 10, lines.append)
    cache.write("other", [features()])
    assert cache.read("image")
    assert cache.read("other") is None
    [line] = lines
    assert "reach feature_cache_gb" in line


def test_configurations_that_were_used_first_are_removed_first(folder):
    caches = []
    for seed in range(3):
        caches.append(FeatureCache({"seed": seed}, 1e9))
        caches[-1].write("image", [features(tokens=100)])
    size = sum(file.stat().st_size for file in folder.rglob("*.npz")) // 3
    for age, cache in enumerate((caches[1], caches[0], caches[2])):
        os.utime(cache.folder, (1000 - age, 1000 - age))
    kept = FeatureCache({"seed": 2}, 2.5 * size)
    assert kept.read("image")
    assert [cache.folder.exists() for cache in caches] == [False, True, True]


def test_a_cache_that_cannot_be_written_computes_all_the_same(monkeypatch, tmp_path):
    (tmp_path / "features").touch()
    monkeypatch.setattr(feature_cache, "cache_folder", lambda: tmp_path)
    lines = []
    cache = FeatureCache({}, 1e9, lines.append)
    cache.write("image", [features()])
    assert cache.read("image") is None
    [line] = lines
    assert "are not kept" in line
