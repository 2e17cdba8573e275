# SPDX-License-Identifier: Apache-2.0
"""Operation and counts of the benchmark, not its results."""

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.benchmarks import camera_benchmark as camera
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.ros.nodes.processes import ProcessError


def test_it_measures_on_the_real_node_and_accounts_for_every_image():
    steps = []
    figures = camera.run(
        camera.Options(
            frames=20,
            flood_s=1.5,
            flood_rate_hz=30.0,
            question_s=1.5,
            progress=steps.append,
        )
    )
    assert len(steps) >= 4
    latency = figures["latency"]
    for quantile in ("median", "p95"):
        ratio = latency["camera_to_detections_ms"][quantile] / latency["raw_predict_ms"][quantile]
        assert latency["ratio"][quantile] == pytest.approx(ratio, abs=0.001)
    flood = figures["flood"]
    assert flood["processed"] > 0
    assert flood["published"] == flood["processed"] + flood["dropped"]
    assert len(flood["resident_mib"]) == 4
    assert figures["questions"]["errors"] == []


def test_a_node_that_cannot_start_is_an_error_and_not_a_long_wait(monkeypatch, tmp_path):
    parameters = tmp_path / "params.yaml"
    parameters.write_text("/**: {ros__parameters: {language_model: {model: /nowhere/model}}}\n")
    monkeypatch.setattr(camera, "_START_TIMEOUT_S", 60.0)
    with pytest.raises(ProcessError, match="/nowhere/model"):
        camera.run(camera.Options(params_file=parameters, progress=lambda line: None))


def test_of_a_folder_the_readable_images_are_taken_as_far_as_memory_allows(tmp_path, monkeypatch):
    for name in "abcd":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((10, 10, 3), np.uint8))
    (tmp_path / "b.png").write_text("no image")
    told = []
    assert len(camera._load(tmp_path, told.append)) == 3
    assert len(told) == 1
    monkeypatch.setattr(camera, "_MAX_BYTES", 600)
    assert len(camera._load(tmp_path, told.append)) == 2


def test_a_folder_without_a_readable_image_is_an_error(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(BenchmarkError, match=r"no image in .* can be read"):
        camera._load(tmp_path, lambda line: None)
