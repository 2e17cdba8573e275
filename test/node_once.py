# SPDX-License-Identifier: Apache-2.0
"""Run `mrmllm_node` until it has published detections of an image.

python node_once.py IMAGE LOG_FOLDER
"""

import sys
from pathlib import Path

import rclpy
from mrmllm_ros.msg import DetectionArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future

from mrmllm_ros.ros.nodes.processes import node_command, ros_arguments, running

_TIMEOUT_S = 400.0


def main():
    image, log_folder = sys.argv[1], Path(sys.argv[2])
    rclpy.init(args=[])
    client = rclpy.create_node("client")
    arrived = Future()

    def on_detections(message):
        if not arrived.done():
            arrived.set_result(len(message.detections))

    client.create_subscription(DetectionArray, "detections", on_detections, 10)
    executor = SingleThreadedExecutor()
    executor.add_node(client)
    player = node_command("camera_player_node", ros_arguments(path=image, rate_hz=5.0))
    model = node_command("mrmllm_node", ros_arguments())
    model_log = log_folder / "mrmllm_node.log"
    with running(player, log_folder / "player.log"), running(model, model_log):
        executor.spin_until_future_complete(arrived, timeout_sec=_TIMEOUT_S)
    rclpy.shutdown()
    if not arrived.done():
        print(f"no detections within {_TIMEOUT_S:.0f} s:\n{model_log.read_text()}")
        return 1
    return 0 if arrived.result() else 1


if __name__ == "__main__":
    sys.exit(main())
