# SPDX-License-Identifier: Apache-2.0
"""`mrmllm scenes`: make scenes with ground truth."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from mrmllm_ros.cli.options import non_negative_int, positive_int
from mrmllm_ros.cli.output import make_folder, print_progress
from mrmllm_ros.settings import SettingsError

# Names in `mrmllm_ros.datasets.rendered`, which imports slowly.
KINDS = ("rooms", "context", "cutouts")
SPLITS = ("train", "tuning", "evaluation")


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "scenes",
        help="render scenes with ground truth",
        description="Render scenes whose boxes, masks, labels, depth, occlusion and distances are "
        "known, for training, evaluation and tests: see docs/scenes.md.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_render(commands)
    _add_sheet(commands)


def _add_render(commands: Any) -> None:
    parser = commands.add_parser(
        "render",
        help="render a folder of scenes",
        description="Render scenes as a folder with images, depth and COCO annotations. The same "
        "options give the same files. An interrupted run continues.",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="output folder")
    parser.add_argument(
        "--count", type=positive_int, default=100, metavar="N", help="number of scenes (100)"
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="S", help="random seed (0)"
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="train",
        help="models, surfaces, photographs and statistics of one split; none is in two (train)",
    )
    parser.add_argument("--kind", choices=KINDS, default="rooms", help="kind of scenes (rooms)")
    parser.add_argument(
        "--frames",
        type=positive_int,
        default=1,
        metavar="N",
        help="images of a moving camera in each scene (1)",
    )
    parser.add_argument(
        "--size", default="640x480", metavar="WxH", help="size of the images (640x480)"
    )
    parser.add_argument(
        "--noise",
        type=float,
        metavar="N",
        help="largest standard deviation of the noise, 0 to 128 of 255 (6)",
    )
    parser.add_argument(
        "--motion-blur",
        type=float,
        metavar="P",
        help="probability of motion blur (0.2)",
    )
    parser.add_argument(
        "--distortion",
        type=float,
        metavar="K",
        help="largest radial distortion k1, 0 to 0.4 (0: rectified images)",
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="number of processes (number of cores)",
    )
    parser.set_defaults(run=_render)


def _add_sheet(commands: Any) -> None:
    parser = commands.add_parser(
        "sheet",
        help="draw a contact sheet of rendered scenes",
        description="Draw the first scenes of a folder with boxes and labels.",
    )
    parser.add_argument(
        "--folder", required=True, type=Path, metavar="FOLDER", help="folder of rendered scenes"
    )
    parser.add_argument(
        "--save", required=True, type=Path, metavar="FILE", help="image file of the sheet"
    )
    parser.add_argument(
        "--columns", type=positive_int, default=4, metavar="N", help="images in a row (4)"
    )
    parser.add_argument("--rows", type=positive_int, default=3, metavar="N", help="rows (3)")
    parser.set_defaults(run=_sheet)


def _render(options: argparse.Namespace) -> int:
    from mrmllm_ros.datasets.rendered.image_effects import EffectSettings
    from mrmllm_ros.datasets.rendered.scene_folder import write_scenes
    from mrmllm_ros.datasets.rendered.scene_renderer import SceneSettings
    from mrmllm_ros.datasets.rendered.scene_sources import SourceSettings
    from mrmllm_ros.detection.rgbd_frames import ANNOTATIONS

    _require_used(options)
    names = ("noise", "motion_blur", "distortion")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    try:
        effects = EffectSettings(**given)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    settings = SourceSettings(
        kind=options.kind,
        split=options.split,
        seed=options.seed,
        scene=SceneSettings(
            resolution_wh=_size(options.size), frames=options.frames, effects=effects
        ),
    )
    make_folder(options.out)
    count = write_scenes(options.out, settings, options.count, options.workers, print_progress)
    print(f"{count} images, {options.out / ANNOTATIONS}")
    return 0


def _require_used(options: argparse.Namespace) -> None:
    """Check that scenes of the kind use all options that are given."""
    unused = {
        "--frames": options.frames > 1 and options.kind != "rooms",
        "--distortion": options.distortion and options.kind != "rooms",
        "--noise": options.noise is not None and options.kind == "cutouts",
        "--motion-blur": options.motion_blur is not None and options.kind == "cutouts",
    }
    if names := [name for name, is_unused in unused.items() if is_unused]:
        raise SettingsError(f"--kind {options.kind} ignores {' and '.join(names)}; omit it")


def _sheet(options: argparse.Namespace) -> int:
    from mrmllm_ros.datasets.coco import read_coco
    from mrmllm_ros.datasets.rendered.scene_sheet import draw_sheet
    from mrmllm_ros.detection.images import save_image
    from mrmllm_ros.detection.rgbd_frames import ANNOTATIONS

    dataset = read_coco(options.folder, options.folder / ANNOTATIONS, print_progress)
    save_image(options.save, draw_sheet(dataset, options.columns, options.rows))
    print(options.save)
    return 0


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (
        width.isdigit() and height.isdigit() and 64 <= int(width) <= 4096 >= int(height) >= 64
    ):
        raise SettingsError(f"--size {text!r}: give width and height, 64 to 4096, as in 640x480")
    return int(width), int(height)
