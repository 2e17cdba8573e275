# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import asdict

import pytest

from mrmllm_ros.cli import benchmark_command as command
from mrmllm_ros.cli.main import main

FIGURES = {
    "size": [768, 576],
    "results": {
        "node": {"median_ms": 31.5, "cpu_ms_per_frame": 1000.25},
        "bare_node": {"median_ms": 30.0, "cpu_ms_per_frame": 7.0},
    },
    "flood": {"age_s": {"median": 0.04}},
}


@pytest.fixture
def ran(monkeypatch):
    """Arguments of the measurements, which return `FIGURES`."""
    pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")
    from mrmllm_ros.benchmarks import camera_benchmark, cameras_benchmark

    ran = {}

    def run_camera(options):
        ran.update(asdict(options))
        return FIGURES

    monkeypatch.setattr(camera_benchmark, "run", run_camera)
    monkeypatch.setattr(cameras_benchmark, "run", lambda **named: ran.update(named) or FIGURES)
    return ran


def test_figures_with_the_same_columns_are_printed_as_a_table(capsys):
    command._print(FIGURES)
    assert capsys.readouterr().out.splitlines() == [
        "size: [768, 576]",
        "results    median_ms  cpu_ms_per_frame",
        "node            31.5           1000.25",
        "bare_node       30.0               7.0",
        "flood:",
        "  age_s:",
        "    median: 0.04",
    ]


def test_the_options_of_a_camera_reach_the_measurement(ran, capsys):
    arguments = "--rate 15 --frames 40 --seconds 0 --size 1920x1080 --params-file a.yaml --json"
    assert main(["benchmark", "camera", *arguments.split()]) == 0
    assert json.loads(capsys.readouterr().out) == FIGURES
    assert (ran["rate"], ran["frames"], ran["seconds"]) == (15.0, 40, 0.0)
    assert ran["size"] == (1920, 1080)
    assert str(ran["params_file"]) == "a.yaml"


def test_the_options_of_several_cameras_reach_the_measurement(ran, capsys):
    assert main(["benchmark", "cameras", "--cameras", "1,3", "--rate", "5"]) == 0
    assert "bare_node" in capsys.readouterr().out
    assert (ran["cameras"], ran["rate"], ran["size"]) == ((1, 3), 5.0, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("camera --size 1920", "'1920' is not a size such as 1920x1080"),
        ("camera --size 0x10", "0 is not a positive number"),
        ("camera --size x10", "'' is not a whole number"),
        ("camera --seconds -1", "-1 is not a finite number of at least 0"),
        ("camera --seconds nan", "nan is not a finite number of at least 0"),
        ("cameras --cameras 1,,2", "'' is not a whole number"),
        ("cameras --cameras 0", "0 is not a positive number"),
    ],
)
def test_wrong_options_are_rejected_with_the_reason(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", *arguments.split()])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
