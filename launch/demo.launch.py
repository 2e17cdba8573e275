# SPDX-License-Identifier: Apache-2.0
"""mrmllm.launch.py with an image, folder or video file for a camera."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription
from mrmllm_ros.ros.nodes.camera_player_node import PlayerSettings
from mrmllm_ros.ros.nodes.launch_arguments import (
    check_topic,
    end_if_refused,
    existing_path,
    positive_number,
)

SHARE = Path(get_package_share_directory("mrmllm_ros"))


def arguments() -> list[DeclareLaunchArgument]:
    """Those of the player; image and camera_info are declared by mrmllm.launch.py as well."""
    return [
        DeclareLaunchArgument("path", description="Image, folder of images or video to play."),
        DeclareLaunchArgument("rate_hz", default_value="10.0", description="Images per second."),
        DeclareLaunchArgument(
            "loop",
            default_value="true",
            choices=["true", "false"],
            description="Whether to start again at the end.",
        ),
        DeclareLaunchArgument(
            "image",
            default_value="/camera/image_raw",
            description="Image topic that the player publishes and the others take.",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="/camera/camera_info",
            description="Camera info topic that the player publishes and the others take.",
        ),
    ]


def check(context: LaunchContext) -> None:
    """End before anything has been started where the player's arguments cannot be used."""
    values = context.launch_configurations
    existing_path("path", values["path"])
    PlayerSettings(rate_hz=positive_number("rate_hz", values["rate_hz"]))
    for argument in ("image", "camera_info"):
        # It plays one camera, so nothing stands for a name.
        check_topic(argument, values[argument])


def player() -> Node:
    """The camera's place is taken by this node."""
    return Node(
        package="mrmllm_ros",
        executable="camera_player_node",
        output="screen",
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=2.0,
        on_exit=end_if_refused,
        sigterm_timeout=LaunchConfiguration("sigterm_timeout", default="30"),
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        remappings=[
            ("image_raw", LaunchConfiguration("image")),
            ("camera_info", LaunchConfiguration("camera_info")),
        ],
        parameters=[
            {
                "path": ParameterValue(LaunchConfiguration("path"), value_type=str),
                "rate_hz": ParameterValue(LaunchConfiguration("rate_hz"), value_type=float),
                "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
            }
        ],
    )


def generate_launch_description() -> LaunchDescription:
    mrmllm = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "mrmllm.launch.py"))
    )
    in_namespace = GroupAction([PushRosNamespace(LaunchConfiguration("namespace")), player()])
    # Included first, it also declares the arguments and sets the environment for the player.
    checked = OpaqueFunction(function=check)
    return LaunchDescription([*arguments(), checked, mrmllm, in_namespace])
