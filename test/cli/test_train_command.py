# SPDX-License-Identifier: Apache-2.0
"""`mrmllm train` with the embedded models: training, resuming, use of checkpoints, errors."""

import json
import subprocess
import sys

import pytest

from mrmllm_ros.cli.main import main
from mrmllm_ros.cli.output import UNFINISHED

SETTINGS = """
output: {output}
steps: {steps}
batch_size: 1
perception_batch_size: 1
warmup_steps: 0
log_every: 1
evaluation_batches: 1
device: cpu
model: {{lora_rank: 2, max_objects: 8}}
data:
  synthetic: {{share: 1.0, questions: 2}}
  frames: {{share: 1.0, questions: 2, sources: [{{path: {frames}}}]}}
"""


@pytest.fixture
def train(tmp_path, bus_file):
    """Function that runs the command with a number of steps."""
    file = tmp_path / "training.yaml"

    def run(steps, options=(), **values):
        values = {"output": tmp_path / "run", "frames": bus_file.parent} | values
        file.write_text(SETTINGS.format(steps=steps, **values))
        return main(["train", "--config", str(file), *options])

    return run


def test_an_interrupted_run_resumes_and_ask_uses_its_checkpoint(train, tmp_path, bus_file, capsys):
    assert train(1) == 0
    capsys.readouterr()
    assert train(2) == 0
    out, progress = capsys.readouterr()
    assert "frames: 1 examples" in progress
    assert "resuming after step 1" in progress
    assert "step 2 of 2" in progress
    checkpoint = out.strip()
    command = ["ask", "--image", str(bus_file), "--checkpoint", checkpoint, "--json"]
    assert main([*command, "--max-new-tokens", "4", "Is there a bus?"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["answer"]
    assert record["detections"]


def test_an_empty_folder_is_rejected(train, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert train(1, frames=tmp_path / "empty") == 2
    assert f"the folder {tmp_path / 'empty'} holds no images" in capsys.readouterr().err


def test_a_missing_video_is_rejected(train, capsys):
    assert train(1, frames="/nowhere.mp4") == 2
    assert "/nowhere.mp4 is no file, folder or sample" in capsys.readouterr().err


def test_a_wrong_key_is_rejected_before_models_are_loaded(tmp_path, capsys):
    file = tmp_path / "training.yaml"
    file.write_text("stepps: 3\n")
    assert main(["train", "--config", str(file)]) == 2
    assert "unknown setting stepps" in capsys.readouterr().err


def test_a_missing_configuration_is_rejected(capsys):
    assert main(["train", "--config", "/nowhere.yaml"]) == 2
    assert "/nowhere.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("{synthetic: {share: 0.0}}", "every share is 0"),
        (
            "{coco: {share: 1.0, images: /nowhere, annotations: /nowhere.json}}",
            "no folder /nowhere",
        ),
        ("{questions: {share: 1.0, file: /nowhere.jsonl}}", "/nowhere.jsonl"),
        ("{frames: {share: 1.0}}", "no usable examples"),
    ],
)
def test_data_that_are_not_there_are_rejected(data, named, tmp_path, capsys):
    file = tmp_path / "training.yaml"
    file.write_text(f"output: {tmp_path / 'run'}\ndevice: cpu\ndata: {data}\n")
    assert main(["train", "--config", str(file)]) == 2
    assert named in capsys.readouterr().err


def test_time_limit_and_output_may_be_given_on_the_command_line(tmp_path, capsys):
    file = tmp_path / "training.yaml"
    file.write_text("steps: 3\n")
    options = ["--output", str(tmp_path), "--time-limit-minutes", "-1"]
    assert main(["train", "--config", str(file), *options]) == 2
    assert "below the minimum" in capsys.readouterr().err


def test_a_run_in_legs_says_that_the_same_command_continues_it(train, tmp_path, capsys):
    assert train(2, options=["--leg-minutes", "0.0001"]) == UNFINISHED
    out, progress = capsys.readouterr()
    assert not out
    assert progress.splitlines()[-1].endswith("run the same command again to continue")
    legs = 1
    while train(2, options=["--leg-minutes", "0.0001"]) == UNFINISHED:
        legs += 1
        assert legs < 5
    out, progress = capsys.readouterr()
    assert out.strip() == str(tmp_path / "run" / "checkpoint")
    assert "step 2 of 2" in progress


def test_two_processes_train_together_whatever_has_a_loss(tmp_path, bus_file):
    file = tmp_path / "training.yaml"
    values = {"output": tmp_path / "run", "frames": bus_file.parent, "steps": 3}
    # Weights without gradient must not block the processes.
    file.write_text(SETTINGS.format(**values) + "loss: {score: 0.0, label: 0.0, box: 0.0}\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = ["--nproc_per_node", "2", "-m", "mrmllm_ros.cli.main", "train", "--config", file]
    done = subprocess.run([*torchrun, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "step 3 of 3" in done.stderr
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").is_file()


def test_an_output_that_is_a_file_is_rejected_before_models_are_loaded(tmp_path, capsys):
    (tmp_path / "training.yaml").write_text("steps: 3\n")
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "inner"):
        options = ["--config", str(tmp_path / "training.yaml"), "--output", str(output)]
        assert main(["train", *options]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert str(output) in line


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"steps: 3\nmodel: {lora_rank: [\n", "line 3"),
        (b"\xff\xfe\x00", "can't decode byte 0xff"),
        (b"[" * 5000, "nested too deeply"),
    ],
)
def test_a_damaged_configuration_is_one_line_that_names_the_place(
    content, fault, tmp_path, capsys
):
    file = tmp_path / "training.yaml"
    file.write_bytes(content)
    assert main(["train", "--config", str(file)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert str(file) in line
    assert fault in line
