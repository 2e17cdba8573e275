# SPDX-License-Identifier: Apache-2.0
"""Run mrmllm.launch.py on a recorded bag with the time of the bag.

Needs the package ros2bag. After the end of the bag, the nodes continue to answer questions about
the last image.
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
from mrmllm_ros.ros.nodes.launch_arguments import boolean_argument, existing_path, positive_number
from mrmllm_ros.ros.packages import require_packages

SHARE = Path(get_package_share_directory("mrmllm_ros"))


def arguments() -> list[DeclareLaunchArgument]:
    """Declare the arguments of the player; mrmllm.launch.py also declares use_sim_time."""
    return [
        DeclareLaunchArgument("bag", description="Folder or file of the bag."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Playback rate."),
        DeclareLaunchArgument(
            "delay_s",
            default_value="20.0",
            description="Delay of the playback in seconds, above 0, for loading the models.",
        ),
        boolean_argument("loop", "false", "Whether to restart at the end."),
        boolean_argument("use_sim_time", "true", "Whether to use the time of the bag."),
    ]


def check(context: LaunchContext) -> None:
    """Raise an error if the bag cannot be played, before any process is started."""
    require_packages("ros2bag")
    existing_path("bag", context.launch_configurations["bag"])
    for argument in ("rate", "delay_s"):
        positive_number(argument, context.launch_configurations[argument])


def playback(context: LaunchContext) -> list[ExecuteProcess]:
    """Return the process `ros2 bag play`, which publishes /clock."""
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
    # The included file sets the environment of the player, too.
    return LaunchDescription([*arguments(), OpaqueFunction(function=check), mrmllm, player])
