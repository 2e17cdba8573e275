# SPDX-License-Identifier: Apache-2.0
"""Files that colcon and pip install."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import mrmllm_ros
from mrmllm_ros.engine.engine_settings import Settings

ROOT = Path(__file__).parents[1]


def test_the_version_is_the_same_everywhere():
    declared = re.search(r"<version>(.+)</version>", (ROOT / "package.xml").read_text()).group(1)
    assert mrmllm_ros.__version__ == declared
    assert f"{declared} " in (ROOT / "CHANGELOG.rst").read_text()


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_profile_holds_known_settings_only(file):
    unknown = []
    Settings.from_parameter_file(file, warn=unknown.append)
    assert unknown == []


def test_the_rviz_configuration_shows_our_topics_with_displays_that_rviz_has():
    text = (ROOT / "config" / "mrmllm.rviz").read_text()
    manager = yaml.safe_load(text)["Visualization Manager"]
    displays = {d["Class"].removeprefix("rviz_default_plugins/"): d for d in manager["Displays"]}
    assert set(displays) == {"Grid", "TF", "Image", "MarkerArray", "PointCloud2"}
    topics = {name: d["Topic"]["Value"] for name, d in displays.items() if "Topic" in d}
    assert topics == {
        "Image": "/mrmllm/annotated_image",
        "MarkerArray": "/mrmllm/markers",
        "PointCloud2": "/mrmllm/object_points",
    }


def test_pip_builds_a_wheel_with_the_command_and_all_files_and_without_tests(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv", "build", "install", "log")
    )
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", tmp_path, source], check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [entry_points] = [n for n in names if n.endswith("entry_points.txt")]
        assert "mrmllm = mrmllm_ros.cli.main:main" in archive.read(entry_points).decode()
    package = (path for path in (ROOT / "mrmllm_ros").rglob("*") if path.is_file())
    files = {str(path.relative_to(ROOT)) for path in package if path.suffix != ".pyc"}
    assert {"mrmllm_ros/model/prompt.py", "mrmllm_ros/weights/catalog.yaml"} < files
    assert files - set(names) == set()
    profiles = [Path(n).name for n in names if "/data/share/mrmllm_ros/config/" in n]
    assert sorted(profiles) == ["embedded.yaml", "gpu.yaml"]
    assert not [n for n in names if n.startswith("test")]


@pytest.mark.skipif(shutil.which("colcon") is None, reason="there is no command colcon")
@pytest.mark.timeout(600)
def test_colcon_build_without_symlinks_installs_all_that_a_robot_needs(tmp_path):
    pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")
    command = ["colcon", "--log-base", str(tmp_path / "log"), "build", "--paths", str(ROOT)]
    command += ["--build-base", str(tmp_path / "build")]
    command += ["--install-base", str(tmp_path / "install")]
    command += ["--cmake-args", f"-DPython3_EXECUTABLE={sys.executable}"]
    built = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    prefix = tmp_path / "install" / "mrmllm_ros"
    for node in ("mrmllm_node", "camera_player_node", "localizer_node", "visualizer_node"):
        assert os.access(prefix / "lib" / "mrmllm_ros" / node, os.X_OK)
    share = prefix / "share" / "mrmllm_ros"
    for file in (
        "launch/mrmllm.launch.py",
        "launch/demo.launch.py",
        "launch/usb_cam.launch.py",
        "launch/realsense.launch.py",
        "launch/bag.launch.py",
        "config/embedded.yaml",
        "config/gpu.yaml",
        "config/mrmllm.rviz",
        "config/fastdds.xml",
        "package.xml",
        "msg/Detection.msg",
        "srv/Query.srv",
        "action/Ask.action",
    ):
        assert (share / file).is_file(), file
    script = (
        f"source {tmp_path}/install/setup.bash && cd / && mrmllm --version && "
        "python3 -c 'import mrmllm_ros.msg, mrmllm_ros.ros.nodes as nodes; print(nodes.__file__)'"
    )
    used = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert used.returncode == 0, used.stderr
    version, module = used.stdout.splitlines()
    assert version == mrmllm_ros.__version__
    assert module.startswith(str(prefix))
