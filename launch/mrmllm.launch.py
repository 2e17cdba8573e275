# SPDX-License-Identifier: Apache-2.0
"""Detections and answers for one camera, in a namespace of their own."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace, SetParameter, SetRemap

from launch import LaunchContext, LaunchDescription

SHARE = Path(get_package_share_directory("mrmllm_ros"))


def arguments() -> list[DeclareLaunchArgument]:
    """Everything that can be chosen on the command line or by an including launch file."""
    return [
        DeclareLaunchArgument(
            "profile",
            default_value="embedded",
            choices=sorted(path.stem for path in (SHARE / "config").glob("*.yaml")),
            description="Parameter file of the package that chooses the models.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=[f"{SHARE / 'config'}/", LaunchConfiguration("profile"), ".yaml"],
            description="Parameter file to take instead of the profile's.",
        ),
        DeclareLaunchArgument(
            "namespace", default_value="mrmllm", description="Namespace of nodes and topics."
        ),
        DeclareLaunchArgument(
            "image",
            default_value="/camera/image_raw",
            description="Image topic.",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="/camera/camera_info",
            description="Camera info topic, for the markers.",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="",
            choices=["", "raw", "compressed"],
            description="Whether to take the image topic or the one with /compressed behind it; "
            "empty leaves it to the parameter file.",
        ),
        DeclareLaunchArgument(
            "device",
            default_value="",
            description="auto, cpu, cuda or cuda:N; empty leaves it to the parameter file.",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="false",
            choices=["true", "false"],
            description="Whether to take the time from /clock, as with a recorded bag.",
        ),
        DeclareLaunchArgument(
            "visualizer",
            default_value="true",
            choices=["true", "false"],
            description="Whether to publish annotated_image and markers.",
        ),
        DeclareLaunchArgument(
            "rviz",
            default_value="false",
            choices=["true", "false"],
            description="Whether to start RViz.",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Log level of the nodes.",
        ),
    ]


def shared_memory_for_images() -> list[SetEnvironmentVariable]:
    """Room for images in Fast DDS's shared memory, unless the user has a profile of their own."""
    profile = str(SHARE / "config" / "fastdds.xml")
    # Fast DDS 2 (Humble, Jazzy) reads the first, Fast DDS 3 the second.
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    return [
        SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=profile))
        for name in names
    ]


def chosen(context: LaunchContext, parameter: str, argument: str) -> dict[str, str]:
    """The parameter, if its launch argument is not empty."""
    value = context.launch_configurations[argument]
    return {parameter: value} if value else {}


def parameters(context: LaunchContext) -> str:
    """The parameter file; launch itself would go on without it."""
    path = Path(context.launch_configurations["params_file"]).expanduser()
    if not path.is_file():
        raise RuntimeError(f"params_file: there is no file {path}")
    return str(path)


def nodes(context: LaunchContext) -> list[Node]:
    transport = chosen(context, "image_transport", "image_transport")
    common = {
        "package": "mrmllm_ros",
        "output": "screen",
        "ros_arguments": ["--log-level", LaunchConfiguration("log_level")],
    }
    return [
        # First, because where there is no RViz launch ends without what it has started before.
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", str(SHARE / "config" / "mrmllm.rviz")],
            condition=IfCondition(LaunchConfiguration("rviz")),
        ),
        Node(
            executable="mrmllm_node",
            parameters=[
                parameters(context),
                {**chosen(context, "compute.device", "device"), **transport},
            ],
            **common,
        ),
        Node(
            executable="visualizer_node",
            parameters=[transport],
            condition=IfCondition(LaunchConfiguration("visualizer")),
            **common,
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    in_namespace = GroupAction(
        [
            PushRosNamespace(LaunchConfiguration("namespace")),
            SetParameter("use_sim_time", LaunchConfiguration("use_sim_time")),
            SetRemap("image_raw", LaunchConfiguration("image")),
            SetRemap("camera_info", LaunchConfiguration("camera_info")),
            OpaqueFunction(function=nodes),
        ]
    )
    return LaunchDescription([*arguments(), *shared_memory_for_images(), in_namespace])
