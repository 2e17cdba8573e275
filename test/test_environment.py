# SPDX-License-Identifier: Apache-2.0
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from mrmllm_ros import environment
from mrmllm_ros.environment import HomeError

IMPORT = "import json, os, mrmllm_ros; print(json.dumps(dict(os.environ)))"


@pytest.fixture
def after_import():
    """Environment variables of a process after importing only the package."""

    def after_import(**variables):
        kept = {n: v for n, v in os.environ.items() if n not in (*environment.VARIABLES, "HOME")}
        given = {name: str(value) for name, value in variables.items()}
        command = [sys.executable, "-c", IMPORT]
        ran = subprocess.run(command, capture_output=True, env={**kept, **given}, check=True)
        return json.loads(ran.stdout)

    return after_import


@pytest.fixture
def without_account(monkeypatch):
    """No HOME, and a user without an account."""

    def nobody(_):
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)


def test_telemetry_is_off_and_caches_are_in_the_packages_home(after_import, tmp_path):
    user, ours = tmp_path / "user", tmp_path / "ours"
    user.mkdir()
    found = after_import(HOME=user, MRMLLM_HOME=ours)
    assert {name: found[name] for name in environment.NO_CONTACT} == environment.NO_CONTACT
    folders = [name for name in environment.VARIABLES if found.get(name, "").startswith("/")]
    assert {name for name in folders if Path(found[name]).is_relative_to(ours)} == {
        "CUDA_CACHE_PATH",
        "HF_HOME",
        "MPLCONFIGDIR",
        "PYTORCH_KERNEL_CACHE_PATH",
        "TORCHINDUCTOR_CACHE_DIR",
        "TORCH_HOME",
        "TRITON_HOME",
        "YOLO_CONFIG_DIR",
    }
    # The login token stays where the hub's commands store it.
    assert found["HF_TOKEN_PATH"] == f"{user}/.cache/huggingface/token"
    # Nodes that a user starts log to the default folder of ROS.
    assert "ROS_LOG_DIR" not in found
    assert not any(tmp_path.rglob("*/*"))


def test_variables_of_the_user_are_kept(after_import, tmp_path):
    chosen = {"ORT_DISABLE_TELEMETRY": "0", "YOLO_OFFLINE": "false", "HF_HOME": "/data/hub"}
    found = after_import(HOME=tmp_path, MRMLLM_HOME=tmp_path / "ours", **chosen)
    assert {name: found[name] for name in chosen} == chosen
    assert "HF_TOKEN_PATH" not in found


def test_waiting_threads_of_pytorch_sleep_soon(after_import, tmp_path):
    assert after_import(HOME=tmp_path)["GOMP_SPINCOUNT"] == "20000"


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_how_long_threads_wait_is_the_users_choice(name, after_import, tmp_path):
    chosen = {name: "active" if name == "OMP_WAIT_POLICY" else "5"}
    found = after_import(HOME=tmp_path, **chosen)
    assert found[name] == chosen[name]
    assert found.get("GOMP_SPINCOUNT") == chosen.get("GOMP_SPINCOUNT")


def test_an_empty_variable_counts_as_not_set(after_import, tmp_path):
    found = after_import(HOME=tmp_path, ORT_DISABLE_TELEMETRY="")
    assert found["ORT_DISABLE_TELEMETRY"] == "1"


def test_caches_are_temporary_where_the_packages_home_cannot_be_written_to(after_import, tmp_path):
    (tmp_path / "file").touch()
    read_only = tmp_path / "file" / "ours"
    found = after_import(HOME=tmp_path, MRMLLM_HOME=read_only, TMPDIR=tmp_path)
    cache = Path(found["TORCHINDUCTOR_CACHE_DIR"]).parent
    assert cache.parent == tmp_path
    assert not cache.exists()
    # Models of the hub may have been stored there before.
    assert found["HF_HOME"] == f"{read_only}/huggingface"


@pytest.mark.parametrize("home", [{}, {"HOME": ""}, {"HOME": "/dev/null"}])
def test_the_logs_of_ros_have_a_folder_where_the_home_has_none(home, after_import, tmp_path):
    found = after_import(MRMLLM_HOME=tmp_path, **home)
    assert found["ROS_LOG_DIR"] == f"{tmp_path}/cache/ros_log"


@pytest.mark.usefixtures("without_account")
def test_without_a_home_folder_the_message_names_the_variable_to_set(monkeypatch):
    monkeypatch.delenv("MRMLLM_HOME", raising=False)
    with pytest.raises(HomeError, match=r"^no folder for models .*; set MRMLLM_HOME to a folder$"):
        environment.home()
    monkeypatch.setenv("MRMLLM_HOME", "/data/mrmllm")
    assert environment.home() == Path("/data/mrmllm")


@pytest.mark.usefixtures("without_account")
@pytest.mark.parametrize("path", ["~/own.onnx", "~nobody-of-this-name/own.onnx"])
def test_a_path_in_an_unknown_home_folder_is_named(path):
    with pytest.raises(HomeError, match=f"^cannot expand {path}: .*; write an absolute path$"):
        environment.expand(path)


def test_no_path_of_a_user_is_expanded_without_that_message():
    package = Path(environment.__file__).parent
    sources = {path: path.read_text() for path in package.rglob("*.py")}
    found = {
        path.name for path, text in sources.items() if "expanduser" in text or "Path.home" in text
    }
    assert found == {"environment.py"}


def test_the_document_names_every_variable():
    text = (Path(__file__).parents[1] / "docs" / "security.md").read_text()
    assert [name for name in environment.VARIABLES if f"`{name}`" not in text] == ["YOLO_VERBOSE"]
    for name, value in environment.NO_CONTACT.items():
        assert f"| `{name}` | `{value}` |" in text
