# SPDX-License-Identifier: Apache-2.0
import os
from types import SimpleNamespace

import pytest

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.benchmarks import cameras_benchmark as cameras
from mrmllm_ros.benchmarks.camera_client import Result
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError


def test_every_number_of_cameras_is_measured_on_the_real_node():
    figures = cameras.run(
        cameras=(1, 2), rate=4.0, seconds=4.0, size=(320, 240), progress=lambda line: None
    )
    assert figures["size"] == [320, 240]
    assert list(figures["cameras"]) == ["1", "2"]
    for number, row in figures["cameras"].items():
        assert 0 < row["total_hz"] <= 4.1 * int(number)
        assert row["hz_per_camera"] == pytest.approx(row["total_hz"] / int(number), abs=0.01)
        assert 0 < row["age_median_ms"] <= row["age_p95_ms"]
        assert row["dropped"] >= 0
        assert 0 < row["fairness"] <= 1
        assert row["cpu_ms_per_frame"] > 0
        assert row["resident_mib"] > 100


def make_client(received_ms, published=4):
    """Results with ages of 20 ms that arrive at the given times."""
    results = [Result((t - 20) * 1_000_000, t * 1_000_000, objects=1) for t in received_ms]
    return SimpleNamespace(results=results, published=published)


def test_rates_ages_and_fairness_are_those_of_all_cameras():
    clients = {"front": make_client([100, 300, 320, 500]), "rear": make_client([200, 400])}
    assert cameras.camera_figures(clients, seconds=2.0) == {
        "hz_per_camera": 1.5,
        "total_hz": 3.0,
        "age_median_ms": 20.0,
        "age_p95_ms": 20.0,
        "dropped": 2,
        "fairness": 0.5,
        "longest_run": 2,
    }


def test_a_camera_that_gets_nothing_is_named():
    clients = {"front": make_client([100]), "rear": make_client([])}
    with pytest.raises(BenchmarkError, match="no detections of rear"):
        cameras.camera_figures(clients, seconds=1.0)
