# SPDX-License-Identifier: Apache-2.0
"""Launch files with `ros2 launch`, which has no wheels."""

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed: it comes with ROS 2 only")
rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node, PushRosNamespace, SetParameter, SetRemap
from mrmllm_ros.srv import Query

from launch import LaunchContext
from mrmllm_ros.settings import SettingsError
from mrmllm_ros.weights import locate

pytestmark = pytest.mark.skipif(shutil.which("ros2") is None, reason="there is no command ros2")

FOLDER = Path(get_package_share_directory("mrmllm_ros")) / "launch"
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "launch.md"
FILES = ["mrmllm", "demo", "usb_cam", "realsense", "bag"]


def include(name, **arguments):
    source = PythonLaunchDescriptionSource(str(FOLDER / f"{name}.launch.py"))
    return IncludeLaunchDescription(source, launch_arguments=arguments.items())


def processes(entity, context):
    """Actions of a launch description in order, without starting them."""
    if entity.condition is not None and not entity.condition.evaluate(context):
        return
    if isinstance(entity, Node):
        entity._perform_substitutions(context)
        yield entity
    elif isinstance(entity, ExecuteProcess):
        yield entity
    else:
        for child in entity.visit(context) or []:
            if hasattr(child, "condition"):
                yield from processes(child, context)
            else:
                for inner in child.entities:
                    yield from processes(inner, context)


def started(entity):
    """Nodes by full name, for example `/mrmllm/visualizer_node`, with their remappings."""
    return {
        f"{node.expanded_node_namespace.rstrip('/')}/{node.node_executable}": dict(
            # The first matching rule applies.
            reversed(node.expanded_remapping_rules or [])
        )
        for node in processes(entity, LaunchContext())
        if isinstance(node, Node)
    }


@pytest.fixture
def every_package(monkeypatch):
    """Simulate that all packages are installed."""
    monkeypatch.setattr("mrmllm_ros.ros.packages.get_package_prefix", lambda name: "/opt")


@pytest.mark.parametrize("file", FILES)
def test_every_argument_is_described(file):
    command = ["ros2", "launch", "mrmllm_ros", f"{file}.launch.py", "--show-args"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    for argument in ("profile", "params_file", "cameras", "image", "camera_info", "depth"):
        assert f"'{argument}':" in shown
    for argument in ("device", "use_sim_time", "localizer", "rviz", "respawn", "log_level"):
        assert f"'{argument}':" in shown
    assert "No description given" not in shown


@pytest.mark.parametrize("file", FILES)
def test_every_argument_stands_in_the_documentation(file):
    section = DOCUMENTATION.read_text().split(f"### {file}.launch.py\n")[1].split("\n#")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\|", section, re.MULTILINE))
    description = include(file).launch_description_source.get_launch_description(LaunchContext())
    declared = [e for e in description.entities if isinstance(e, DeclareLaunchArgument)]
    assert list(documented) == [argument.name for argument in declared]
    # Its default depends on the profile.
    documented.pop("params_file", None)
    for argument in declared:
        if argument.name in documented:
            parts = argument.default_value
            default = (
                "none" if parts is None else "".join(p.perform(LaunchContext()) for p in parts)
            )
            assert documented[argument.name].strip("`") == (default or "empty")


def test_one_camera_has_its_topics_in_the_namespace_itself():
    nodes = started(include("mrmllm", namespace="eyes"))
    assert set(nodes) == {"/eyes/mrmllm_node", "/eyes/visualizer_node"}
    assert nodes["/eyes/mrmllm_node"] == {"image_raw": "/camera/image_raw"}
    assert nodes["/eyes/visualizer_node"]["camera_info"] == "/camera/camera_info"
    # Those of the namespace, /eyes/answers.
    assert "answers" not in nodes["/eyes/visualizer_node"]


def test_each_of_several_cameras_has_its_own_localizer_and_visualizer():
    nodes = started(
        include("mrmllm", cameras="front, rear", image="/{camera}/rgb", localizer="true")
    )
    assert nodes["/mrmllm/mrmllm_node"] == {
        "front/image_raw": "/front/rgb",
        "rear/image_raw": "/rear/rgb",
    }
    for camera in ("front", "rear"):
        for name in ("localizer", "visualizer"):
            remaps = nodes[f"/mrmllm/{camera}/{name}_node"]
            assert remaps["image_raw"] == f"/{camera}/rgb"
            assert remaps["depth/image_raw"] == f"/{camera}/depth/image_raw"
            assert remaps["depth/camera_info"] == f"/{camera}/depth/camera_info"
            # What is in the camera's namespace is found there.
            assert "answers" not in remaps


def test_cameras_of_the_parameter_file_are_launched(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text("/**:\n  ros__parameters:\n    cameras: [left, right]\n")
    nodes = started(include("mrmllm", params_file=str(file)))
    assert {"/mrmllm/left/visualizer_node", "/mrmllm/right/visualizer_node"} < set(nodes)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"cameras": "fro-nt"}, r"cameras: \['fro-nt'\]"),
        ({"cameras": "front,front"}, r"cameras: \['front', 'front'\]"),
        ({"cameras": ","}, r"cameras: \['', ''\]"),
        ({"cameras": "front,"}, r"cameras: \['front', ''\]"),
        ({"cameras": " "}, r"cameras: \[''\]"),
        ({"cameras": "2nd"}, r"cameras: \['2nd'\]"),
        ({"cameras": "front,rear", "image": "/image"}, r"image: '/image' .* write \{camera\}"),
        ({"cameras": "front,rear", "image": "{camera}/rgb"}, "image: .* begin it with /"),
        ({"image": "/{cam}/rgb"}, r"image: '/\{cam\}/rgb' is not a topic: unknown substitution"),
        ({"image": "/a//b"}, "image: '/a//b' is not a topic"),
        ({"camera_info": ""}, "camera_info: '' is not a topic"),
        ({"depth": "a b"}, "depth: 'a b' is not a topic"),
        ({"depth_camera_info": "/2nd"}, "depth_camera_info: '/2nd' is not a topic"),
        ({"points": "/points/"}, "points: '/points/' is not a topic"),
        ({"namespace": "a-b"}, "namespace: 'a-b'"),
        ({"device": "gpu"}, "device: 'gpu' is not one of auto, cpu, cuda, cuda:N"),
        ({"device": "cuda:x"}, "device: 'cuda:x'"),
        ({"params_file": "/nowhere.yaml"}, "params_file: the file /nowhere.yaml does not exist"),
        ({"profile": "none"}, "profile"),
        ({"image_transport": "theora"}, "image_transport"),
        ({"use_sim_time": "yes"}, "use_sim_time"),
        ({"log_level": "loud"}, "log_level"),
    ],
)
def test_an_argument_that_cannot_be_used_is_rejected_with_its_name(arguments, reason):
    with pytest.raises((SettingsError, RuntimeError), match=reason):
        started(include("mrmllm", **arguments))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("/**:\n  ros__parameters:\n    cameras: front\n", "cameras: 'front' is not a list"),
        ("/**:\n  ros__parameters:\n    cameras: [1, 2]\n", "is not a list of strings"),
        ("/**:\n  ros__parameters:\n    cameras: []\n", r"cameras: \[\]"),
        ("/**:\n  ros__parameters:\n    cameras: [a-b]\n", r"cameras: \['a-b'\]"),
        ("cameras: [front]\n", "no ros__parameters"),
        ("cameras: [front\n", "cannot read the parameter file"),
    ],
)
def test_a_parameter_file_that_cannot_be_used_is_rejected(content, reason, tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=reason):
        started(include("mrmllm", params_file=str(file)))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"path": "/nowhere"}, "path: '/nowhere' does not exist"),
        ({"path": ""}, "path: '' does not exist"),
        ({"rate_hz": "abc"}, "rate_hz: 'abc' is not a number"),
        ({"rate_hz": "0"}, "rate_hz: 0 is not above 0"),
        ({"rate_hz": "-1"}, "rate_hz: -1 "),
        ({"rate_hz": "nan"}, "rate_hz: nan "),
        ({"rate_hz": "9999"}, "rate_hz: 9999.0 is above the maximum"),
        ({"loop": "maybe"}, "loop"),
        ({"image": "/{camera}/rgb"}, "image: "),
        ({"camera_info": ""}, "camera_info: "),
        ({"cameras": "front,rear"}, r"image: .* write \{camera\}"),
    ],
)
def test_an_argument_of_the_demo_that_cannot_be_used_is_rejected(arguments, reason, tmp_path):
    with pytest.raises((SettingsError, RuntimeError), match=reason):
        started(include("demo", **({"path": str(tmp_path)} | arguments)))


def test_rviz_shows_the_topics_of_the_namespace(every_package):
    nodes = started(include("mrmllm", rviz="true", cameras="front,rear"))
    assert nodes["/mrmllm/front/rviz2"]["/mrmllm/annotated_image"] == "annotated_image"
    assert "/mrmllm/rear/rviz2" not in nodes


def test_an_including_file_sets_namespace_and_remaps():
    robot = [
        PushRosNamespace("robot"),
        SetRemap("image_raw", "/robot/eye"),
        include("mrmllm", namespace="", image="/not_this"),
    ]
    nodes = started(GroupAction(robot))
    assert set(nodes) == {"/robot/mrmllm_node", "/robot/visualizer_node"}
    assert nodes["/robot/mrmllm_node"]["image_raw"] == "/robot/eye"
    assert nodes["/robot/visualizer_node"]["image_raw"] == "/robot/eye"


def test_nothing_of_ours_reaches_the_nodes_of_an_including_file():
    robot = [
        SetRemap("theirs", "/theirs"),
        SetParameter("theirs", 1),
        include("mrmllm", use_sim_time="true"),
        Node(package="theirs", executable="last"),
    ]
    context = LaunchContext()
    for node in processes(GroupAction(robot), context):
        if node.node_executable == "last":
            assert node.expanded_remapping_rules == [("theirs", "/theirs")]
            assert context.launch_configurations["global_params"] == [("theirs", 1)]
            break
    else:
        pytest.fail("their node was not started")


def test_the_demo_plays_where_the_others_listen(tmp_path):
    arguments = {"image": "/eye", "namespace": "first", "localizer": "true"}
    nodes = started(include("demo", path=str(tmp_path), **arguments))
    player = nodes["/first/camera_player_node"]
    assert player["image_raw"] == "/eye"
    assert nodes["/first/mrmllm_node"]["image_raw"] == "/eye"
    localizer = nodes["/first/localizer_node"]
    for topic in ("camera_info", "depth/image_raw", "depth/camera_info"):
        assert player[topic] == localizer[topic]


@pytest.mark.parametrize(
    ("file", "driver", "image", "arguments"),
    [
        (
            "usb_cam",
            "/camera/usb_cam_node_exe",
            "/camera/image_rect",
            {"video_device": "/dev/null"},
        ),
        ("realsense", "/realsense2_camera_node", "/camera/color/image_rect", {}),
    ],
)
def test_an_example_joins_camera_rectification_and_rviz(
    file, driver, image, arguments, every_package
):
    nodes = started(include(file, **arguments))
    assert driver in nodes
    assert f"{image.rpartition('/')[0]}/rectify_node" in nodes
    assert nodes["/mrmllm/mrmllm_node"]["image_raw"] == image
    assert "/mrmllm/rviz2" in nodes
    assert ("/mrmllm/localizer_node" in nodes) == (file == "realsense")


@pytest.mark.parametrize(
    ("file", "frame"),
    [("mrmllm", "camera_optical_frame"), ("realsense", "camera_color_optical_frame")],
)
def test_rviz_is_fixed_to_the_frame_of_the_images(every_package, file, frame):
    context = LaunchContext()
    *_, rviz = [
        process
        for process in processes(include(file, rviz="true"), context)
        if getattr(process, "node_executable", "") == "rviz2"
    ]
    words = ["".join(part.perform(context) for part in word) for word in rviz.cmd[1:5]]
    assert words[words.index("-f") + 1] == frame


def test_a_bag_is_played_with_its_clock(every_package, tmp_path):
    bag = include("bag", bag=str(tmp_path), rate="0.5", loop="true")
    context = LaunchContext()
    *nodes, player = processes(bag, context)
    words = ["".join(part.perform(context) for part in word) for word in player.cmd]
    assert words[:4] == ["ros2", "bag", "play", str(tmp_path)]
    assert {"--clock", "--loop"} < set(words)
    assert words[words.index("--rate") + 1] == "0.5"
    assert context.launch_configurations["use_sim_time"] == "true"
    assert [node.node_executable for node in nodes] == ["mrmllm_node", "visualizer_node"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"bag": "/nowhere"}, "bag: '/nowhere' does not exist"),
        ({"rate": "fast"}, "rate: 'fast' is not a number"),
        ({"rate": "0"}, "rate: 0 is not above 0"),
        ({"delay_s": "-1"}, "delay_s: -1 is not above 0"),
        ({"loop": "twice"}, "loop"),
    ],
)
def test_a_bag_that_cannot_be_played_is_rejected(arguments, reason, every_package, tmp_path):
    with pytest.raises((SettingsError, RuntimeError), match=reason):
        started(include("bag", **({"bag": str(tmp_path)} | arguments)))


def test_a_usb_camera_that_is_not_there_is_rejected(every_package):
    with pytest.raises(SettingsError, match="video_device: '/nowhere' does not exist"):
        started(include("usb_cam", video_device="/nowhere"))


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("rviz2", ["mrmllm.launch.py", "rviz:=true"]),
        ("usb_cam", ["usb_cam.launch.py"]),
        ("realsense2_camera", ["realsense.launch.py"]),
        ("ros2bag", ["bag.launch.py", "bag:=/tmp"]),
    ],
)
def test_a_package_that_is_missing_ends_the_launch_with_its_name(package, arguments):
    try:
        pytest.skip(f"{package} is installed: {get_package_prefix(package)}")
    except PackageNotFoundError:
        assert_launch_ends_with(f"not installed: {package}", arguments)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("/nowhere.yaml does not exist", ["mrmllm.launch.py", "params_file:=/nowhere.yaml"]),
        ("cameras: ['fro-nt']", ["mrmllm.launch.py", "cameras:=fro-nt"]),
        ("path: '/nowhere' does not exist", ["demo.launch.py", "path:=/nowhere"]),
    ],
)
def test_what_cannot_be_launched_ends_with_the_reason_before_it_has_begun(message, arguments):
    assert_launch_ends_with(message, arguments)


def test_a_node_that_refuses_its_parameters_ends_the_launch_though_it_is_to_respawn(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text("/**/visualizer_node:\n  ros__parameters:\n    answer_s: -7.0\n")
    command = ["ros2", "launch", "mrmllm_ros", "mrmllm.launch.py", "respawn:=true"]
    launched = subprocess.run(
        [*command, f"params_file:={file}"], capture_output=True, text=True, timeout=300
    )
    printed = launched.stdout + launched.stderr
    assert launched.returncode != 0
    assert "answer_s" in printed
    assert re.search(r"visualizer_node-\d rejected its parameters", printed)


def assert_launch_ends_with(message, arguments):
    command = ["ros2", "launch", "mrmllm_ros", *arguments]
    launched = subprocess.run(command, capture_output=True, text=True, timeout=300)
    printed = launched.stdout + launched.stderr
    assert launched.returncode != 0
    assert message in printed
    assert "Traceback" not in printed
    assert "process started" not in printed


@pytest.mark.timeout(900)
def test_a_launched_demo_answers_in_its_namespace_and_ends_cleanly(tmp_path):
    command = ["ros2", "launch", "mrmllm_ros", "demo.launch.py", "namespace:=launched"]
    command += [f"path:={locate('vtest') / 'vtest.avi'}", "rate_hz:=1.0", "visualizer:=false"]
    command += ["image:=/launched/eye", "camera_info:=/launched/info"]
    with (tmp_path / "launch.log").open("wb") as log:
        launched = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    rclpy.init()
    node = rclpy.create_node("client")
    try:
        client = node.create_client(Query, "/launched/query")
        assert client.wait_for_service(300), (tmp_path / "launch.log").read_text()
        for _ in range(60):
            request = Query.Request(question="Who?", max_age=60.0, max_new_tokens=4)
            future = client.call_async(request)
            rclpy.spin_until_future_complete(node, future, timeout_sec=180)
            not_yet = (Query.Request.NOT_ACTIVE, Query.Request.NO_IMAGE)
            if future.result().error_code not in not_yet:
                break
            time.sleep(1)
        assert future.result().success, future.result().error_message
    finally:
        launched.send_signal(signal.SIGINT)
        assert launched.wait(120) == 0
        node.destroy_node()
        rclpy.shutdown()
