# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

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
