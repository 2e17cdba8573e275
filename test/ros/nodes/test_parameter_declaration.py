# SPDX-License-Identifier: Apache-2.0
"""Errors of invalid parameters and arguments, warnings of unknown ones."""

import pytest
import rclpy
from rclpy.parameter import Parameter

from mrmllm_ros.ros.nodes import lifecycle, requests
from mrmllm_ros.ros.nodes.camera_player_node import CameraPlayerNode
from mrmllm_ros.ros.nodes.localizer_node import LocalizerNode
from mrmllm_ros.ros.nodes.mrmllm_node import MrmllmNode
from mrmllm_ros.ros.nodes.visualizer_node import VisualizerNode

NODES = [CameraPlayerNode, LocalizerNode, MrmllmNode, VisualizerNode]


@pytest.fixture
def start(monkeypatch, capfd):
    """Function that starts a node with ROS arguments; gives its status and what it has logged.

    A node that starts is ended at once.
    """

    def start(node_class, *arguments):
        command = ["node", "--ros-args", *arguments]
        monkeypatch.setattr(lifecycle.sys, "argv", command)
        # No client waits for a response.
        monkeypatch.setattr(lifecycle, "QUIET_S", 0.001)
        monkeypatch.setattr(requests, "QUIET_S", 0.0)
        monkeypatch.setattr(node_class, "start", lambda node: node.finalized.set_result(None))
        status = lifecycle.spin(node_class)
        return status, capfd.readouterr().err

    return start


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "parameters.yaml"
        path.write_text(text)
        return str(path)

    return write


def assert_rejected(result, *parts):
    status, log = result
    assert status == 2
    assert log.startswith("node: error: ")
    assert log.count("\n") == 1, log
    for part in parts:
        assert part in log


@pytest.mark.parametrize("node_class", NODES)
@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("autostart:=1", "autostart is 1, which is not a bool; write true or false"),
        ("autostart:='yes'", "autostart is 'yes', which is not a bool"),
        ("use_sim_time:=1", "use_sim_time is 1, which is not a bool; write true or false"),
        ("use_sim_time:=[]", "use_sim_time is empty; write true or false"),
    ],
)
def test_a_parameter_of_every_node_that_is_of_a_wrong_type_is_named(
    start, node_class, argument, reason
):
    assert_rejected(start(node_class, "-p", argument), f"parameter {reason}")


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("cameras:=[]", "cameras is empty; write a list of texts in brackets, such as [camera]"),
        ("cameras:=front", "cameras is 'front', which is not a list"),
        ("cameras:=[1, 2]", "cameras is [1, 2], which is not a list"),
        ("cameras:=[front, front]", "cameras: ['front', 'front']"),
        ("image_transport:=5", "image_transport is 5, which is not a string"),
        ("image_transport:=zip", "image_transport: 'zip' is not one of raw, compressed"),
        ("detector.model:=null", "detector.model is 'null', which is not a string"),
        ("detector.score_threshold:=[0.3]", "score_threshold is [0.3], which is not a double"),
        ("detector.score_threshold:=.nan", "score_threshold: nan is below the minimum"),
        ("detector.score_threshold:=true", "score_threshold is True, which is not a double"),
        ("question.max_waiting:=8.0", "max_waiting is 8.0, which is not an int"),
        ("question.max_waiting:=8x", "max_waiting is '8x', which is not an int"),
        ("question.max_waiting:=0", "max_waiting: 0 is below the minimum of 1"),
    ],
)
def test_a_value_that_a_parameter_cannot_have_is_named_with_the_fix(start, argument, reason):
    assert_rejected(start(MrmllmNode, "-p", argument), reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/**:\n  ros__parameters:\n    cameras: []\n", "parameter cameras is empty"),
        ("/**:\n  ros__parameters:\n    cameras: {}\n", "parameter cameras is empty"),
        ("/**:\n  ros__parameters:\n    cameras:\n", "line 3 (cameras:); write"),
        ("/**:\n  ros__parameters:\n    cameras: [a, 1]\n", "(cameras: [a, 1]); all items"),
        ("/**:\n  ros__parameters:\n    cameras: [a\n", "line 3 (cameras: [a)"),
        ("/**:\n  ros_parameters:\n    cameras: [a]\n", "below `NODE: ros__parameters:`"),
        ("cameras: [a]\n", "cannot read the parameter file"),
        ("just text", "is not a ROS 2 parameter file"),
        ("- 1\n", "cannot read the parameter file"),
    ],
)
def test_a_file_that_holds_no_parameters_is_named_with_the_line(start, write, text, reason):
    path = write(text)
    result = start(MrmllmNode, "--params-file", path)
    assert_rejected(result, reason)
    assert path in result[1] or "parameter cameras" in result[1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--params-file", "/nowhere.yaml"], "the parameter file /nowhere.yaml does not exist"),
        (["-p", "cameras:="], "-p cameras:="),
        (["--nonsense"], "--nonsense"),
        (["-r", "__node:=a-b"], "__node:=a-b"),
    ],
)
def test_arguments_that_ros_rejects_are_named(start, arguments, reason):
    assert_rejected(start(VisualizerNode, *arguments), reason)


def test_a_double_may_be_a_whole_number_at_the_start_and_later():
    rclpy.init(args=["node", "--ros-args", "-p", "answer_s:=3"])
    try:
        node = VisualizerNode()
        assert repr(node.settings.answer_s) == "3.0"
        [result] = node.set_parameters([Parameter("answer_s", value=4)])
        assert result.successful, result.reason
        assert repr(node.get_parameter("answer_s").value) == "4.0"
        assert repr(node.settings.answer_s) == "4.0"
        node.destroy_node()
    finally:
        rclpy.shutdown()


def warnings(result):
    status, log = result
    assert status == 0
    return [line.split("]: ", 1)[1] for line in log.splitlines() if line.startswith("[WARN]")]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("score_treshold", "detector.score_threshold"),
        ("detector.scor_threshold", "detector.score_threshold"),
        ("score_threshold", "detector.score_threshold"),
        ("mrmllm_node.cameras", "cameras"),
        ("camera", "cameras"),
    ],
)
def test_a_parameter_that_no_node_has_is_named_once_with_the_nearest(start, key, meant):
    [warning] = warnings(start(MrmllmNode, "-p", f"{key}:=0.5"))
    assert warning.startswith(f"parameter {key} does not exist and has no effect; did you mean ")
    assert meant in warning


@pytest.mark.parametrize("node_class", NODES)
def test_every_node_names_a_parameter_that_none_has(start, node_class):
    [warning] = warnings(start(node_class, "-p", "zzz:=1"))
    assert warning.startswith("parameter zzz does not exist and has no effect")


@pytest.mark.parametrize("node_class", NODES)
def test_what_other_nodes_have_and_what_ros_has_is_no_mistake(start, write, node_class):
    path = write(
        "/**:\n  ros__parameters:\n"
        "    cameras: [front]\n    min_points: 3\n    answer_s: 3.0\n    rate_hz: 2.0\n"
        "    detector: {score_threshold: 0.4}\n"
        "    use_sim_time: false\n    start_type_description_service: true\n"
        "    qos_overrides: {/image_raw: {subscription: {depth: 3}}}\n"
        "usb_cam:\n  ros__parameters:\n    video_device: /dev/video0\n"
    )
    assert warnings(start(node_class, "--params-file", path)) == []


def test_a_parameter_of_another_node_in_the_nodes_own_section_is_a_mistake(start, write):
    path = write("visualizer_node:\n  ros__parameters:\n    min_points: 3\n")
    [warning] = warnings(start(VisualizerNode, "--params-file", path))
    assert "parameter min_points does not exist" in warning


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("visualiser_node", "matches no node; did you mean /robot/visualizer_node:"),
        ("visualizer_node", "write /**/visualizer_node: or /robot/visualizer_node:"),
        ("usb_cam", "add one for /robot/visualizer_node:"),
    ],
)
def test_a_section_that_reaches_no_node_is_named(start, write, section, reason):
    path = write(f"{section}:\n  ros__parameters:\n    answer_s: 3.0\n")
    result = start(VisualizerNode, "--params-file", path, "-r", "__ns:=/robot")
    [warning] = warnings(result)
    assert section in warning
    assert reason in warning


@pytest.mark.parametrize(
    "section",
    [
        *("/robot/visualizer_node", "robot/visualizer_node", "/**/visualizer_node"),
        *("/*/visualizer_node", "/robot/*", "/robot/**", "/**", "mrmllm_node"),
    ],
)
def test_a_section_that_reaches_a_node_of_the_package_is_none(start, write, section):
    path = write(f"{section}:\n  ros__parameters:\n    answer_s: 3.0\n")
    result = start(VisualizerNode, "--params-file", path, "-r", "__ns:=/robot")
    assert warnings(result) == []
