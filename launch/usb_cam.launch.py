# SPDX-License-Identifier: Apache-2.0
"""Example: USB camera, rectification, detections, answers and RViz.

Needs the packages usb_cam and image_proc, and rviz2 unless `rviz:=false`.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from mrmllm_ros.ros.nodes.launch_arguments import boolean_argument, existing_path
from mrmllm_ros.ros.packages import require_packages

SHARE = Path(get_package_share_directory("mrmllm_ros"))


def arguments() -> list[DeclareLaunchArgument]:
    """Declare the arguments of the camera and other defaults for mrmllm.launch.py."""
    return [
        DeclareLaunchArgument(
            "video_device", default_value="/dev/video0", description="Device of the camera."
        ),
        DeclareLaunchArgument(
            "camera_info_url",
            default_value="",
            description="Calibration of the camera, for example file:///home/you/camera.yaml.",
        ),
        DeclareLaunchArgument(
            "image",
            default_value="/camera/image_rect",
            description="Image topic; use /camera/image_raw for a camera without calibration, "
            "whose images are not rectified.",
        ),
        boolean_argument("rviz", "true", "Whether to start RViz."),
    ]


def check(context: LaunchContext) -> None:
    """Raise an error if the camera cannot be started, before any process is started."""
    require_packages("usb_cam", "image_proc")
    existing_path("video_device", context.launch_configurations["video_device"])


def camera() -> list[Node]:
    """Return the nodes that publish image_raw, camera_info and image_rect in /camera."""
    driver = Node(
        package="usb_cam",
        executable="usb_cam_node_exe",
        namespace="/camera",
        parameters=[
            {
                "video_device": LaunchConfiguration("video_device"),
                "camera_info_url": LaunchConfiguration("camera_info_url"),
                "frame_id": "camera_optical_frame",
            }
        ],
    )
    rectification = Node(
        package="image_proc",
        executable="rectify_node",
        namespace="/camera",
        remappings=[("image", "image_raw")],
    )
    return [driver, rectification]


def generate_launch_description() -> LaunchDescription:
    mrmllm = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "mrmllm.launch.py"))
    )
    # The included file sets the environment of the camera, too.
    checked = OpaqueFunction(function=check)
    return LaunchDescription([*arguments(), checked, mrmllm, *camera()])
