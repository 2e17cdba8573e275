# SPDX-License-Identifier: Apache-2.0
"""mrmllm.launch.py on a recorded bag, in the bag's own time.

Needs the package ros2bag. At the end of the bag the nodes stay, and so do questions about what
they have seen last.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchContext, LaunchDescription
from mrmllm_ros.ros.nodes.launch_arguments import existing_path, positive_number
from mrmllm_ros.ros.nodes.packages import require_packages

SHARE = Path(get_package_share_directory("mrmllm_ros"))


def arguments() -> list[DeclareLaunchArgument]:
    """Those of the player; use_sim_time is declared by mrmllm.launch.py as well."""
    return [
        DeclareLaunchArgument("bag", description="Folder or file of the bag."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the playback."),
        DeclareLaunchArgument(
            "delay_s",
            default_value="20.0",
            description="Seconds until the playback begins, for loading models; more than 0.",
        ),
        DeclareLaunchArgument(
            "loop",
            default_value="false",
            choices=["true", "false"],
            description="Whether to start again at the end.",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="true",
            choices=["true", "false"],
            description="Whether to take the time from the bag.",
        ),
    ]


def check(context: LaunchContext) -> None:
    """End before anything has been started where the bag cannot be played."""
    require_packages("ros2bag")
    existing_path("bag", context.launch_configurations["bag"])
    for argument in ("rate", "delay_s"):
        positive_number(argument, context.launch_configurations[argument])


def playback(context: LaunchContext) -> list[ExecuteProcess]:
    """`ros2 bag play` with a clock."""
    arguments = context.launch_configurations
    command = ["ros2", "bag", "play", str(existing_path("bag", arguments["bag"]))]
    command += ["--clock", "100", "--disable-keyboard-controls"]
    command += ["--rate", arguments["rate"], "--delay", arguments["delay_s"]]
    if arguments["loop"] == "true":
        command.append("--loop")
    return [ExecuteProcess(cmd=command, output="screen")]


def generate_launch_description() -> LaunchDescription:
    mrmllm = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "mrmllm.launch.py"))
    )
    player = OpaqueFunction(function=playback)
    # Included before the player, it also sets the player's environment.
    return LaunchDescription([*arguments(), OpaqueFunction(function=check), mrmllm, player])
