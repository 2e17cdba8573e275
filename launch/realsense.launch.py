# SPDX-License-Identifier: Apache-2.0
"""Example: RealSense camera with depth, rectification, 3D detections, answers and RViz.

Needs the packages realsense2_camera and image_proc, and rviz2 unless `rviz:=false`.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from launch import LaunchDescription
from mrmllm_ros.ros.nodes.launch_arguments import boolean_argument
from mrmllm_ros.ros.packages import require_packages

SHARE = Path(get_package_share_directory("mrmllm_ros"))


def arguments() -> list[DeclareLaunchArgument]:
    """Declare other defaults for mrmllm.launch.py."""
    names = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in (
            ("image", "/camera/color/image_rect", "Image topic."),
            ("camera_info", "/camera/color/camera_info", "Camera info topic."),
            (
                "depth",
                "/camera/aligned_depth_to_color/image_raw",
                "Depth image topic of the localizer.",
            ),
            (
                "depth_camera_info",
                "/camera/aligned_depth_to_color/camera_info",
                "Camera info topic of the depth images.",
            ),
            ("fixed_frame", "camera_color_optical_frame", "Fixed frame of RViz."),
        )
    ]
    switches = [
        boolean_argument(
            "localizer",
            "true",
            "Whether to publish detections_3d, object_distances and object_points.",
        ),
        boolean_argument("rviz", "true", "Whether to start RViz."),
    ]
    return [*names, *switches]


def camera() -> list[Node]:
    """Return the nodes that publish color and aligned depth images in /camera."""
    driver = Node(
        package="realsense2_camera",
        executable="realsense2_camera_node",
        namespace="/",
        name="camera",
        # Registers depth to the color image, pixel by pixel.
        parameters=[{"align_depth.enable": True, "enable_sync": True}],
    )
    rectification = Node(
        package="image_proc",
        executable="rectify_node",
        namespace="/camera/color",
        remappings=[("image", "image_raw")],
    )
    return [driver, rectification]


def generate_launch_description() -> LaunchDescription:
    mrmllm = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "mrmllm.launch.py"))
    )
    needed = OpaqueFunction(function=lambda _: require_packages("realsense2_camera", "image_proc"))
    # The included file sets the environment of the camera, too.
    return LaunchDescription([needed, *arguments(), mrmllm, *camera()])
