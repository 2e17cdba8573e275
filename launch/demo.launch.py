# SPDX-License-Identifier: Apache-2.0
"""mrmllm.launch.py with an image, folder or video file for a camera."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

SHARE = Path(get_package_share_directory("mrmllm_ros"))


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument("path", description="Image, folder of images or video to play."),
        DeclareLaunchArgument("rate_hz", default_value="10.0", description="Images per second."),
        DeclareLaunchArgument(
            "loop",
            default_value="true",
            choices=["true", "false"],
            description="Whether to start again at the end.",
        ),
    ]
    player = Node(
        package="mrmllm_ros",
        executable="camera_player_node",
        namespace="camera",
        output="screen",
        parameters=[
            {
                "path": ParameterValue(LaunchConfiguration("path"), value_type=str),
                "rate_hz": ParameterValue(LaunchConfiguration("rate_hz"), value_type=float),
                "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
            }
        ],
    )
    mrmllm = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "mrmllm.launch.py"))
    )
    # Included first, it also sets the environment for the player.
    return LaunchDescription([*arguments, mrmllm, player])
