# SPDX-License-Identifier: Apache-2.0
"""Detections and answers for one or several cameras, in a namespace of their own.

To include it in a launch file of your own, give what differs as `launch_arguments`. A namespace
that is pushed and remaps that are set around it hold for its nodes.
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
    camera_names,
    check_device,
    check_image,
    check_namespace,
    check_topic,
    end_if_refused,
    existing_file,
)
from mrmllm_ros.ros.nodes.packages import require_packages

SHARE = Path(get_package_share_directory("mrmllm_ros"))
RVIZ = SHARE / "config" / "mrmllm.rviz"
# Before a process that ended is started again, so that one that cannot start leaves the processor
# to the others.
RESPAWN_DELAY_S = 2.0
# From SIGINT to SIGTERM: with the 5 s of launch itself a busy processor does not let go of the
# models in time.
END_TIMEOUT_S = "30"

# Topics of a node that looks at one camera's results, and the arguments that name them.
TOPICS = {
    "image_raw": "image",
    "camera_info": "camera_info",
    "depth/image_raw": "depth",
    "depth/camera_info": "depth_camera_info",
    "points": "points",
}


def switch(name: str, default: str, description: str) -> DeclareLaunchArgument:
    """An argument that is true or false."""
    return DeclareLaunchArgument(
        name, default_value=default, choices=["true", "false"], description=description
    )


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
            description="Parameter file for all nodes, to take instead of the profile's.",
        ),
        DeclareLaunchArgument(
            "namespace", default_value="mrmllm", description="Namespace of nodes and topics."
        ),
        DeclareLaunchArgument(
            "cameras",
            default_value="",
            description="Names of the cameras with commas between them, such as front,rear; empty "
            "leaves them to the parameter file. With several, what is about one of them is in a "
            "namespace of its name.",
        ),
        DeclareLaunchArgument(
            "image",
            default_value="/{camera}/image_raw",
            description="Image topic; {camera} stands for the camera's name.",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="/{camera}/camera_info",
            description="Camera info topic, for the markers and the localizer.",
        ),
        DeclareLaunchArgument(
            "depth",
            default_value="/{camera}/depth/image_raw",
            description="Topic of depth images, for the localizer.",
        ),
        DeclareLaunchArgument(
            "depth_camera_info",
            default_value="/{camera}/depth/camera_info",
            description="Camera info topic of the depth images; where nothing comes, they are "
            "taken to be registered to the color images.",
        ),
        DeclareLaunchArgument(
            "points",
            default_value="/{camera}/points",
            description="Topic of point clouds, for a localizer whose parameter source is points.",
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
        switch(
            "use_sim_time",
            "false",
            "Whether to take the time from /clock, as with a recorded bag.",
        ),
        switch(
            "localizer",
            "false",
            "Whether to publish detections_3d, object_distances and object_points.",
        ),
        switch("visualizer", "true", "Whether to publish annotated_image and markers."),
        switch("rviz", "false", "Whether to start RViz, for the first camera."),
        DeclareLaunchArgument(
            "fixed_frame",
            default_value="camera_optical_frame",
            description="Frame that RViz shows things in: that of the images or one of the robot.",
        ),
        switch("respawn", "false", "Whether to start a node again when it has ended."),
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


def check(context: LaunchContext) -> None:
    """End before anything has been started where an argument cannot be used."""
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
    """The topic that an argument names, for one camera."""
    return context.launch_configurations[argument].replace("{camera}", camera)


def nodes(context: LaunchContext) -> list[Node]:
    """`mrmllm_node` for all cameras, and for each camera what looks at its results."""
    file = existing_file("params_file", context.launch_configurations["params_file"])
    cameras = camera_names(context.launch_configurations["cameras"], file)
    # What is about one of several cameras is in a namespace of its name.
    namespaces = {camera: camera if len(cameras) > 1 else "" for camera in cameras}
    perception = node(
        context,
        "mrmllm_node",
        [file, {"cameras": cameras, **chosen(context, "compute.device", "device")}],
        remappings=[
            (f"{namespace}/image_raw".lstrip("/"), topic(context, "image", camera))
            for camera, namespace in namespaces.items()
        ],
    )
    watching = [
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
    return [perception, *watching, rviz(context, namespaces[cameras[0]])]


def node(context: LaunchContext, executable: str, parameters: list, **options: Any) -> Node:
    """A node of the package, with what all of them share."""
    transport = chosen(context, "image_transport", "image_transport")
    return Node(
        package="mrmllm_ros",
        executable=executable,
        parameters=[*parameters, {**transport, **sim_time(context)}],
        output="screen",
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=RESPAWN_DELAY_S,
        on_exit=end_if_refused,
        sigterm_timeout=LaunchConfiguration("sigterm_timeout", default=END_TIMEOUT_S),
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        **options,
    )


def remappings(context: LaunchContext, camera: str) -> list[tuple[str, str]]:
    """Where a node that looks at one camera's results finds what is not in its namespace."""
    return [(name, topic(context, argument, camera)) for name, argument in TOPICS.items()]


def sim_time(context: LaunchContext) -> dict[str, bool]:
    """Nothing if it is not asked for, so that what an including file has set holds."""
    wanted = context.launch_configurations["use_sim_time"] == "true"
    return {"use_sim_time": True} if wanted else {}


def rviz(context: LaunchContext, namespace: str) -> Node:
    """RViz; its configuration names topics of the namespace /mrmllm, whatever ours is."""
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
    # No SetRemap and no SetParameter: where an including file has one of its own, they would also
    # reach what comes after us in that file.
    in_namespace = GroupAction(
        [PushRosNamespace(LaunchConfiguration("namespace")), OpaqueFunction(function=nodes)]
    )
    checked = OpaqueFunction(function=check)
    return LaunchDescription([*arguments(), checked, *shared_memory_for_images(), in_namespace])
