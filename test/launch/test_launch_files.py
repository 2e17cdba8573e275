# SPDX-License-Identifier: Apache-2.0
"""The launch files with the real `ros2 launch`; its pieces have no wheels."""

import os
import shutil
import signal
import subprocess
import time

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed: it comes with ROS 2 only")
rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.srv import Query

from mrmllm_ros.weights import locate

pytestmark = pytest.mark.skipif(shutil.which("ros2") is None, reason="there is no command ros2")


@pytest.mark.parametrize("file", ["mrmllm.launch.py", "demo.launch.py"])
def test_every_argument_is_described(file):
    command = ["ros2", "launch", "mrmllm_ros", file, "--show-args"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    for argument in ("profile", "params_file", "image", "device", "use_sim_time", "log_level"):
        assert f"'{argument}':" in shown
    assert "No description given" not in shown


def test_a_launched_demo_answers_in_its_namespace_and_ends_cleanly(tmp_path):
    command = ["ros2", "launch", "mrmllm_ros", "demo.launch.py", "namespace:=launched"]
    command += [f"path:={locate('vtest') / 'vtest.avi'}", "rate_hz:=5.0", "visualizer:=false"]
    with (tmp_path / "launch.log").open("wb") as log:
        launched = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    rclpy.init()
    node = rclpy.create_node("client")
    try:
        client = node.create_client(Query, "/launched/query")
        assert client.wait_for_service(90), (tmp_path / "launch.log").read_text()
        for _ in range(60):
            future = client.call_async(Query.Request(question="Who?", max_new_tokens=4))
            rclpy.spin_until_future_complete(node, future, timeout_sec=60)
            not_yet = (Query.Request.NOT_ACTIVE, Query.Request.NO_IMAGE)
            if future.result().error_code not in not_yet:
                break
            time.sleep(1)
        assert future.result().success, future.result().error_message
    finally:
        os.killpg(launched.pid, signal.SIGINT)
        assert launched.wait(30) == 0
        node.destroy_node()
        rclpy.shutdown()


def test_a_parameter_file_that_is_missing_ends_the_launch_with_its_name():
    command = ["ros2", "launch", "mrmllm_ros", "mrmllm.launch.py", "params_file:=/nowhere.yaml"]
    launched = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert launched.returncode != 0
    assert "there is no file /nowhere.yaml" in launched.stdout + launched.stderr
