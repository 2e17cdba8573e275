# SPDX-License-Identifier: Apache-2.0
"""`mrmllm demo`: ask questions about a photograph and a video through ROS 2."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrmllm_ros.cli.output import make_folder, print_error
from mrmllm_ros.cli.ros_checks import require_ros
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.ros.nodes.processes import (
    check_running,
    interruptible,
    node_command,
    ros_arguments,
    running,
)
from mrmllm_ros.settings import profile_file
from mrmllm_ros.weights import locate

if TYPE_CHECKING:
    from mrmllm_ros.cli.demo_client import DemoClient
    from mrmllm_ros.srv import Query

NAMESPACE = "/mrmllm"
CAMERA = "/camera"
_START_TIMEOUT_S = 180.0
_ANSWER_TIMEOUT_S = 120.0
_PICTURE_TIMEOUT_S = 20.0


class DemoError(MrmllmError):
    """The demo cannot continue."""


@dataclass(frozen=True)
class Source:
    """Photograph or video that is played as a camera, with questions about it."""

    name: str
    path: Path
    rate_hz: float
    questions: tuple[str, ...]


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="play images as a camera, ask about them, save annotated images",
        description="Start the nodes in processes, play a photograph and a video as a camera, ask "
        "questions through the service `query`, and save annotated images and a summary. Needs "
        "ROS 2.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo_output"),
        metavar="FOLDER",
        help="folder of annotated images, logs and summary.json (demo_output)",
    )
    parser.add_argument(
        "--profile", default="embedded", help="parameter file in config/ (embedded)"
    )
    parser.add_argument(
        "--watch", action="store_true", help="keep playing the video until Ctrl-C, for RViz"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play every source and ask its questions; exit status 0 if all are answered."""
    require_ros()
    import rclpy

    make_folder(options.output)
    records: list[dict[str, Any]] = []
    rclpy.init()
    try:
        with interruptible():
            for source in _sources():
                records += _play(source, options)
    finally:
        rclpy.try_shutdown()
    summary = options.output / "summary.json"
    summary.write_text(json.dumps(records, indent=2) + "\n")
    failed = sum(not record["success"] for record in records)
    print(f"\n{len(records) - failed} of {len(records)} questions answered; see {summary}")
    return 1 if failed else 0


def _sources() -> list[Source]:
    return [
        Source(
            name="photograph",
            path=_package_folder("ultralytics") / "assets" / "bus.jpg",
            rate_hz=5.0,
            questions=(
                "How many people are there?",
                "What is in the middle?",
                "Is there a dog?",
                "Is there a bus?",
                "What is on the left?",
                "",
            ),
        ),
        Source(
            name="video",
            path=locate("vtest") / "vtest.avi",
            rate_hz=10.0,
            questions=("How many people are there?", "Is there a car?", ""),
        ),
    ]


def _play(source: Source, options: argparse.Namespace) -> list[dict[str, Any]]:
    from mrmllm_ros.cli.demo_client import DemoClient

    print(f"\n== {source.name}: {source.path.name}, {source.rate_hz:g} images a second ==")
    client = DemoClient(NAMESPACE)
    try:
        with _stack(source, options) as check:
            if not client.wait_until_ready(check, _START_TIMEOUT_S):
                raise DemoError(
                    f"no annotated image after {_START_TIMEOUT_S:.0f} s; see the logs in "
                    f"{options.output}"
                )
            records = [
                _ask(client, source, number, question, options.output)
                for number, question in enumerate(source.questions, start=1)
            ]
            if options.watch and source.name == "video":
                _watch(check, options.profile)
            return records
    finally:
        client.destroy_node()


def _ask(
    client: DemoClient, source: Source, number: int, question: str, output: Path
) -> dict[str, Any]:
    response = client.ask(question, _ANSWER_TIMEOUT_S)
    if response is None:
        raise DemoError(
            f"no answer to {question!r} after {_ANSWER_TIMEOUT_S:.0f} s; see the logs in {output}"
        )
    record = _record(source, question, response)
    print(f"Q: {question or '(describe)'}")
    if not response.success:
        print(f"   error {response.error_code}: {response.error_message}")
        return record
    print(f"A: {record['answer']}")
    cited = ", ".join(f"[{c['id']}] {c['label']} {c['score']:.2f}" for c in record["cited"])
    print(f"   rests on: {cited or 'nothing cited'}")
    print(
        f"   first text after {record['time_to_first_token_s']:.2f} s, "
        f"complete after {record['latency_s']:.2f} s"
    )
    slug = re.sub(r"\W+", "_", question.lower()).strip("_") or "describe"
    picture = output / f"{source.name}_{number}_{slug}.png"
    record["picture"] = _save_picture(client, response, picture)
    return record


def _record(source: Source, question: str, response: Query.Response) -> dict[str, Any]:
    answer = response.answer
    return {
        "source": source.name,
        "question": question,
        "success": response.success,
        "error_code": response.error_code,
        "error_message": response.error_message,
        "answer": answer.text,
        "confidence": round(answer.confidence, 4),
        "cited": [
            {
                "id": d.id,
                "label": d.label,
                "score": round(d.score, 4),
                "center_xy": [round(d.bbox.center_x, 1), round(d.bbox.center_y, 1)],
                "size_wh": [round(d.bbox.size_x, 1), round(d.bbox.size_y, 1)],
            }
            for d in answer.detections
        ],
        "time_to_first_token_s": round(answer.time_to_first_token, 3),
        "latency_s": round(answer.latency, 3),
    }


def _save_picture(client: DemoClient, response: Query.Response, path: Path) -> str | None:
    """Save the image that the answer is about; returns the file's name, or None."""
    from mrmllm_ros.detection.annotation import draw_caption
    from mrmllm_ros.detection.images import ImageError, save_image
    from mrmllm_ros.ros.conversions.detection_messages import nanoseconds

    answer = response.answer
    image = client.annotated(nanoseconds(answer.header.stamp), _PICTURE_TIMEOUT_S)
    if image is None:
        print(f"   no annotated image after {_PICTURE_TIMEOUT_S:.0f} s")
        return None
    caption = [f"Q: {answer.question or '(describe)'}", f"A: {answer.text}"]
    try:
        save_image(path, draw_caption(image, caption))
    except ImageError as error:
        print_error(error)
        return None
    print(f"   {path}")
    return path.name


@contextmanager
def _stack(source: Source, options: argparse.Namespace) -> Iterator[Callable[[], None]]:
    """Run the nodes; yields a function that raises an exception if one of them has ended."""
    commands = _launch_commands(source, options) or _node_commands(source, options)
    with ExitStack() as processes:
        started = []
        for name, command in commands.items():
            log = options.output / f"{source.name}_{name}.log"
            started.append((processes.enter_context(running(command, log)), log))

        def check() -> None:
            for process, log in started:
                check_running(process, log)

        yield check


def _launch_commands(source: Source, options: argparse.Namespace) -> dict[str, list[str]]:
    """Command of `ros2 launch`; empty if it is not installed."""
    ros2 = shutil.which("ros2")
    if ros2 is None or importlib.util.find_spec("launch_ros") is None:
        return {}
    arguments = [
        f"path:={source.path}",
        f"rate_hz:={source.rate_hz}",
        f"profile:={options.profile}",
    ]
    return {"launch": [ros2, "launch", "mrmllm_ros", "demo.launch.py", *arguments]}


def _node_commands(source: Source, options: argparse.Namespace) -> dict[str, list[str]]:
    """Commands of the nodes in demo.launch.py, for machines without `ros2 launch`."""
    camera = ["-r", f"image_raw:={CAMERA}/image_raw", "-r", f"camera_info:={CAMERA}/camera_info"]
    player = ros_arguments(namespace=CAMERA, path=source.path, rate_hz=source.rate_hz)
    model = ros_arguments(namespace=NAMESPACE, params_file=profile_file(options.profile))
    return {
        "camera_player_node": node_command("camera_player_node", player),
        "mrmllm_node": node_command("mrmllm_node", [*model, *camera]),
        "visualizer_node": node_command(
            "visualizer_node", [*ros_arguments(namespace=NAMESPACE), *camera]
        ),
    }


def _package_folder(name: str) -> Path:
    """Folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise DemoError(f"the Python package {name} is not installed; run pip install {name}")
    return Path(spec.origin).parent


def _watch(check: Callable[[], None], profile: str) -> None:
    print(
        "\nPlaying until Ctrl-C. In a terminal with a ROS 2 distribution:\n"
        f"  rviz2 -d {profile_file(profile).with_name('mrmllm.rviz')}"
    )
    try:
        while True:
            check()
            time.sleep(1)
    except KeyboardInterrupt:
        print("stopping")
