# SPDX-License-Identifier: Apache-2.0
"""Run mrmllm.launch.py with an image, a folder, rendered scenes or a video file as camera."""

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
    boolean_argument,
    check_topic,
    end_if_rejected,
    existing_path,
    positive_number,
)

SHARE = Path(get_package_share_directory("mrmllm_ros"))

# Topics of the player, and the arguments with their names.
TOPICS = {
    "image_raw": "image",
    "camera_info": "camera_info",
    "depth/image_raw": "depth",
    "depth/camera_info": "depth_camera_info",
}


def arguments() -> list[DeclareLaunchArgument]:
    """Declare the arguments of the player; mrmllm.launch.py also declares the topics."""
    return [
        DeclareLaunchArgument(
            "path", description="Image, folder of images or of scenes, or video."
        ),
        DeclareLaunchArgument("rate_hz", default_value="10.0", description="Images per second."),
        boolean_argument("loop", "true", "Whether to restart at the end."),
        DeclareLaunchArgument(
            "image",
            default_value="/camera/image_raw",
            description="Image topic of all nodes.",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="/camera/camera_info",
            description="Camera info topic of all nodes.",
        ),
        DeclareLaunchArgument(
            "depth",
            default_value="/camera/depth/image_raw",
            description="Depth image topic of rendered scenes and of the localizer.",
        ),
        DeclareLaunchArgument(
            "depth_camera_info",
            default_value="/camera/depth/camera_info",
            description="Camera info topic of these depth images.",
        ),
    ]


def check(context: LaunchContext) -> None:
    """Raise an error if an argument is invalid, before any process is started."""
    values = context.launch_configurations
    existing_path("path", values["path"])
    PlayerSettings(rate_hz=positive_number("rate_hz", values["rate_hz"]))
    for argument in TOPICS.values():
        # There is one camera, so that {camera} is not allowed.
        check_topic(argument, values[argument])


def player() -> Node:
    """Return the node that plays the images."""
    return Node(
        package="mrmllm_ros",
        executable="camera_player_node",
        output="screen",
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=2.0,
        on_exit=end_if_rejected,
        sigterm_timeout=LaunchConfiguration("sigterm_timeout", default="30"),
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        remappings=[(name, LaunchConfiguration(argument)) for name, argument in TOPICS.items()],
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
    # The included file declares arguments and sets the environment of the player, too.
    checked = OpaqueFunction(function=check)
    return LaunchDescription([*arguments(), checked, mrmllm, in_namespace])
