# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

HEAVY = ("torch", "torchvision", "transformers", "ultralytics", "timm")


@pytest.mark.parametrize("node", ["visualizer_node", "camera_player_node", "localizer_node"])
def test_a_node_without_models_loads_none_of_their_libraries(node):
    code = f"import sys, mrmllm_ros.ros.nodes.{node}; print(*(set({HEAVY}) & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100
    )
    assert result.stdout.split() == []
