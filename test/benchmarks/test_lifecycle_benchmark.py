# SPDX-License-Identifier: Apache-2.0
import os

import pytest

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.benchmarks import lifecycle_benchmark as lifecycle
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError


def test_resources_are_compared_and_threads_and_topics_do_not_grow():
    lines = []
    figures = lifecycle.run(cycles=2, progress=lines.append)
    assert figures["cycles"] == len(lines) == 2
    early, end = figures["early"], figures["end"]
    assert end["resident_mib"] > 100
    assert figures["memory_ratio"] == pytest.approx(
        end["resident_mib"] / early["resident_mib"], abs=1e-3
    )
    for what in ("threads", "publishers", "subscriptions", "services"):
        assert end[what] == early[what]


def test_a_transition_that_fails_ends_the_measurement_with_the_log(tmp_path):
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("/**:\n  ros__parameters:\n    detector: {model: /nowhere.onnx}\n")
    with pytest.raises(BenchmarkError, match=r"/nowhere\.onnx"):
        lifecycle.run(parameters, cycles=1, progress=lambda line: None)
