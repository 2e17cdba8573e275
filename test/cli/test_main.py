# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys

import pytest

from mrmllm_ros.cli import main as entry
from mrmllm_ros.cli.main import main

COMMANDS = ("ask", "benchmark", "demo", "detect", "evaluate", "models", "parameters")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert command in capsys.readouterr().out


def test_help_loads_neither_torch_nor_ros():
    code = (
        "import sys; from mrmllm_ros.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'rclpy', 'transformers', 'ultralytics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_no_command_is_an_error():
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2


def run_command(*arguments, **options):
    """Run a command in a process with buffered output."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "mrmllm_ros.cli.main", *arguments]
    return subprocess.run(
        command, stderr=subprocess.PIPE, env=environment | options.pop("env", {}), **options
    )


def test_a_closed_pipe_ends_a_command_silently():
    reader, writer = os.pipe()
    os.close(reader)
    ended = run_command("--help", stdout=writer)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_output_that_cannot_be_written_is_one_line():
    with open("/dev/full", "wb") as full:
        ended = run_command("--help", stdout=full)
    assert ended.returncode == 2
    [line] = ended.stderr.decode().splitlines()
    assert line == "mrmllm: error: cannot read or write: No space left on device"


def test_a_pipe_closed_during_output_ends_a_command(monkeypatch):
    def run(arguments):
        print("a result", flush=True)

    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(entry, "_run", run)
        assert main([]) == 141


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
def test_any_file_name_can_be_named_in_an_error(locale, tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9 \xc3\xbc.png"
    ended = run_command("ask", "--image", path, "Is it dark?", stdout=subprocess.PIPE, env=locale)
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith(b"mrmllm: error: cannot read the image ")
    assert line.endswith(b".png: No such file or directory")
    assert b"/caf\\udce9 " in line


def test_an_error_of_the_system_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(entry, "_run", lambda arguments: (tmp_path / "none").read_text())
    assert main([]) == 2
    expected = f"mrmllm: error: cannot use {tmp_path / 'none'}: No such file or directory\n"
    assert capsys.readouterr().err == expected


def test_an_interrupted_command_ends_in_silence_with_status_130():
    code = (
        "import sys, threading; from mrmllm_ros.cli import main as entry\n"
        "def run(arguments): print('ready', flush=True); threading.Event().wait()\n"
        "entry._run = run; sys.exit(entry.main([]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
    assert process.returncode == 130
