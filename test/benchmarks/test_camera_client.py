# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.benchmarks import camera_client
from mrmllm_ros.benchmarks.camera_client import Result, load_images, quantiles
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError


def test_of_a_folder_the_readable_images_are_taken_as_far_as_memory_allows(tmp_path, monkeypatch):
    for name in "abcd":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((10, 10, 3), np.uint8))
    (tmp_path / "b.png").write_text("no image")
    lines = []
    assert len(load_images(tmp_path, None, lines.append)) == 3
    assert len(lines) == 1
    monkeypatch.setattr(camera_client, "_MAX_BYTES", 600)
    assert len(load_images(tmp_path, None, lines.append)) == 2


def test_images_are_resized(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((10, 10, 3), np.uint8))
    [image] = load_images(tmp_path, (32, 18), lambda line: None)
    assert image.shape == (18, 32, 3)


def test_a_folder_without_a_readable_image_is_an_error(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(BenchmarkError, match=r"no image in .* can be read"):
        load_images(tmp_path, None, lambda line: None)


def test_the_age_of_a_result_counts_from_the_stamp_of_its_image():
    assert Result(1_000_000_000, 1_030_000_000, objects=0).age_s == pytest.approx(0.03)


def test_quantiles_are_median_and_95th_percentile():
    assert quantiles(np.arange(101)) == {"median": 50.0, "p95": 95.0}
