# SPDX-License-Identifier: Apache-2.0
"""Detections and answers for one or several cameras.

Other launch files can include this one with `launch_arguments`; pushed namespaces and remappings
apply to its nodes.
"""

import re
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace

from launch import LaunchContext, LaunchDescription
from mrmllm_ros.ros.nodes.launch_arguments import (
    boolean_argument,
    camera_names,
    check_device,
    check_image,
    check_namespace,
    check_topic,
    end_if_rejected,
    existing_file,
)
from mrmllm_ros.ros.packages import require_packages

SHARE = Path(get_package_share_directory("mrmllm_ros"))
RVIZ = SHARE / "config" / "mrmllm.rviz"
# Delay before a restart, so that a node that cannot start does not load the processor.
RESPAWN_DELAY_S = 2.0
# Time from SIGINT to SIGTERM; the 5 s of launch are too short to unload models on a busy machine.
END_TIMEOUT_S = "30"

# Input topics of localizer and visualizer, and the arguments with their names.
TOPICS = {
    "image_raw": "image",
    "camera_info": "camera_info",
    "depth/image_raw": "depth",
    "depth/camera_info": "depth_camera_info",
    "points": "points",
}


def arguments() -> list[DeclareLaunchArgument]:
    """Declare the launch arguments."""
    return [
        DeclareLaunchArgument(
            "profile",
            default_value="embedded",
            choices=sorted(path.stem for path in (SHARE / "config").glob("*.yaml")),
            description="Parameter file in config/ that selects the models.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=[f"{SHARE / 'config'}/", LaunchConfiguration("profile"), ".yaml"],
            description="Parameter file for all nodes; overrides profile.",
        ),
        DeclareLaunchArgument(
            "namespace", default_value="mrmllm", description="Namespace of nodes and topics."
        ),
        DeclareLaunchArgument(
            "cameras",
            default_value="",
            description="Names of the cameras, for example front,rear; empty for those of the "
            "parameter file. With several cameras, each has its topics and nodes in a "
            "namespace with its name.",
        ),
        DeclareLaunchArgument(
            "image",
            default_value="/{camera}/image_raw",
            description="Image topic; {camera} is replaced by the name of the camera.",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="/{camera}/camera_info",
            description="Camera info topic of visualizer and localizer.",
        ),
        DeclareLaunchArgument(
            "depth",
            default_value="/{camera}/depth/image_raw",
            description="Depth image topic of the localizer.",
        ),
        DeclareLaunchArgument(
            "depth_camera_info",
            default_value="/{camera}/depth/camera_info",
            description="Camera info topic of the depth images; without messages, depth is "
            "assumed to be registered to color.",
        ),
        DeclareLaunchArgument(
            "points",
            default_value="/{camera}/points",
            description="Point cloud topic of the localizer, if its parameter source is points.",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="",
            choices=["", "raw", "compressed"],
            description="Transport of the images; compressed subscribes to the image topic with "
            "the suffix /compressed; empty for that of the parameter file.",
        ),
        DeclareLaunchArgument(
            "device",
            default_value="",
            description="auto, cpu, cuda or cuda:N; empty for that of the parameter file.",
        ),
        boolean_argument(
            "use_sim_time",
            "false",
            "Whether to use the time on /clock, as with a recorded bag.",
        ),
        boolean_argument(
            "localizer",
            "false",
            "Whether to publish detections_3d, object_distances and object_points.",
        ),
        boolean_argument("visualizer", "true", "Whether to publish annotated_image and markers."),
        boolean_argument("rviz", "false", "Whether to start RViz, for the first camera."),
        DeclareLaunchArgument(
            "fixed_frame",
            default_value="camera_optical_frame",
            description="Fixed frame of RViz: the frame of the images or one of the robot.",
        ),
        boolean_argument("respawn", "false", "Whether to restart a node that has ended."),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Log level of the nodes.",
        ),
    ]


def shared_memory_for_images() -> list[SetEnvironmentVariable]:
    """Set the Fast DDS profile with shared memory for images, unless the user has set one."""
    profile = str(SHARE / "config" / "fastdds.xml")
    # Fast DDS 2 (Humble, Jazzy) reads the first variable, Fast DDS 3 the second.
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    return [
        SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=profile))
        for name in names
    ]


def override(context: LaunchContext, parameter: str, argument: str) -> dict[str, str]:
    """Return the parameter, unless its launch argument is empty."""
    value = context.launch_configurations[argument]
    return {parameter: value} if value else {}


def check(context: LaunchContext) -> None:
    """Raise an error if an argument is invalid, before any process is started."""
    values = context.launch_configurations
    if values["rviz"] == "true":
        require_packages("rviz2")
    cameras = camera_names(values["cameras"], existing_file("params_file", values["params_file"]))
    check_image(values["image"], cameras)
    for argument in TOPICS.values():
        for camera in cameras:
            check_topic(argument, topic(context, argument, camera))
    check_namespace(values["namespace"])
    check_device(values["device"])


def topic(context: LaunchContext, argument: str, camera: str) -> str:
    """Return the topic of a camera, from an argument."""
    return context.launch_configurations[argument].replace("{camera}", camera)


def nodes(context: LaunchContext) -> list[Node]:
    """Return `mrmllm_node`, localizer and visualizer of each camera, and RViz."""
    file = existing_file("params_file", context.launch_configurations["params_file"])
    cameras = camera_names(context.launch_configurations["cameras"], file)
    namespaces = {camera: camera if len(cameras) > 1 else "" for camera in cameras}
    perception = node(
        context,
        "mrmllm_node",
        [file, {"cameras": cameras, **override(context, "compute.device", "device")}],
        remappings=[
            (f"{namespace}/image_raw".lstrip("/"), topic(context, "image", camera))
            for camera, namespace in namespaces.items()
        ],
    )
    observers = [
        node(
            context,
            f"{name}_node",
            [file],
            namespace=namespace,
            remappings=remappings(context, camera),
            condition=IfCondition(LaunchConfiguration(name)),
        )
        for camera, namespace in namespaces.items()
        for name in ("localizer", "visualizer")
    ]
    return [perception, *observers, rviz(context, namespaces[cameras[0]])]


def node(context: LaunchContext, executable: str, parameters: list, **options: Any) -> Node:
    """Return a node of the package with the common options."""
    transport = override(context, "image_transport", "image_transport")
    return Node(
        package="mrmllm_ros",
        executable=executable,
        parameters=[*parameters, {**transport, **sim_time(context)}],
        output="screen",
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=RESPAWN_DELAY_S,
        on_exit=end_if_rejected,
        sigterm_timeout=LaunchConfiguration("sigterm_timeout", default=END_TIMEOUT_S),
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        **options,
    )


def remappings(context: LaunchContext, camera: str) -> list[tuple[str, str]]:
    """Return the remappings of localizer and visualizer of a camera."""
    return [(name, topic(context, argument, camera)) for name, argument in TOPICS.items()]


def sim_time(context: LaunchContext) -> dict[str, bool]:
    """Return use_sim_time, if true; otherwise an including file may have set it."""
    is_set = context.launch_configurations["use_sim_time"] == "true"
    return {"use_sim_time": True} if is_set else {}


def rviz(context: LaunchContext, namespace: str) -> Node:
    """Return RViz, with the topics of its configuration remapped from /mrmllm to our namespace."""
    topics = sorted(set(re.findall(r"/mrmllm/\S+", RVIZ.read_text())))
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=namespace,
        arguments=["-d", str(RVIZ), "-f", LaunchConfiguration("fixed_frame")],
        parameters=[sim_time(context)],
        remappings=[(name, name.removeprefix("/mrmllm/")) for name in topics],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )


def generate_launch_description() -> LaunchDescription:
    # SetRemap and SetParameter would also apply to later nodes of an including file.
    in_namespace = GroupAction(
        [PushRosNamespace(LaunchConfiguration("namespace")), OpaqueFunction(function=nodes)]
    )
    checked = OpaqueFunction(function=check)
    return LaunchDescription([*arguments(), checked, *shared_memory_for_images(), in_namespace])
