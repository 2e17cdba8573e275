# SPDX-License-Identifier: Apache-2.0
"""An example to copy: a USB camera, its images rectified, detections, answers and RViz.

Needs the packages usb_cam and image_proc, and rviz2 unless `rviz:=false`.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from mrmllm_ros.ros.nodes.launch_arguments import existing_path
from mrmllm_ros.ros.nodes.packages import require_packages

SHARE = Path(get_package_share_directory("mrmllm_ros"))


def arguments() -> list[DeclareLaunchArgument]:
    """Those of the camera, and those of mrmllm.launch.py that have another default here."""
    return [
        DeclareLaunchArgument(
            "video_device", default_value="/dev/video0", description="Device of the camera."
        ),
        DeclareLaunchArgument(
            "camera_info_url",
            default_value="",
            description="Calibration of the camera, such as file:///home/you/camera.yaml.",
        ),
        DeclareLaunchArgument(
            "image",
            default_value="/camera/image_rect",
            description="Image topic; without a calibration take /camera/image_raw, for there are "
            "no rectified images then.",
        ),
        DeclareLaunchArgument(
            "rviz",
            default_value="true",
            choices=["true", "false"],
            description="Whether to start RViz.",
        ),
    ]


def check(context: LaunchContext) -> None:
    """End before anything has been started where the camera cannot be."""
    require_packages("usb_cam", "image_proc")
    existing_path("video_device", context.launch_configurations["video_device"])


def camera() -> list[Node]:
    """Publishes image_raw, camera_info and image_rect in the namespace /camera."""
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
    # Included before the camera, it also sets the camera's environment.
    checked = OpaqueFunction(function=check)
    return LaunchDescription([*arguments(), checked, mrmllm, *camera()])
