# SPDX-License-Identifier: Apache-2.0
import os

import pytest

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.benchmarks import start_benchmark as start
from mrmllm_ros.ros.nodes.processes import ProcessError

NODES = ("answerer mrmllm", "answerer none")


def test_the_node_and_the_detector_alone_start_in_turn():
    lines = []
    figures = start.run(rounds=1, progress=lines.append)
    assert list(figures) == ["rounds", *NODES]
    assert [line.split(": ")[0] for line in lines] == [f"round 1 of 1, {name}" for name in NODES]
    node, detector = (figures[name] for name in NODES)
    assert 0 < node["first_detections_s"] < node["first_answer_s"]
    assert "first_answer_s" not in detector
    assert node["resident_mib"] > detector["resident_mib"] > 100


def test_a_node_that_cannot_detect_ends_the_measurement_with_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(start, "_TIMEOUT_S", 15.0)
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(
        "/**:\n  ros__parameters:\n    answerer: none\n    detector: {model: /nowhere.onnx}\n"
    )
    with pytest.raises(ProcessError, match=r"/nowhere\.onnx"):
        start.run(parameters, rounds=1, progress=lambda line: None)


def test_the_median_is_that_of_all_rounds():
    starts = [start.Start(seconds, None, 100.0 * seconds) for seconds in (1.0, 2.0, 6.0)]
    assert start._medians(starts) == {"first_detections_s": 2.0, "resident_mib": 200.0}
