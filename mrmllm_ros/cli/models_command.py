# SPDX-License-Identifier: Apache-2.0
"""`mrmllm models`: fetch and list the embedded models and samples."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mrmllm_ros.cli.options import add_model_options, model_settings
from mrmllm_ros.cli.output import print_progress
from mrmllm_ros.settings import SettingsError
from mrmllm_ros.weights import store
from mrmllm_ros.weights.catalog import CATALOG, PROFILES
from mrmllm_ros.weights.download import megabytes


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("models", help="fetch and list models and samples")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fetch = commands.add_parser(
        "fetch",
        help="download models or samples into the cache",
        description="Download models or samples into the cache ($MRMLLM_HOME, by default "
        "~/.cache/mrmllm_ros) and convert them. Intact ones in the cache are kept. Without "
        "arguments, the profile `embedded` is fetched.",
    )
    fetch.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(CATALOG)}")
    profiles = "; ".join(f"{profile}: {', '.join(names)}" for profile, names in PROFILES.items())
    fetch.add_argument(
        "--profile",
        choices=PROFILES,
        action="append",
        default=[],
        help=f"group of models or samples; may be repeated ({profiles})",
    )
    fetch.set_defaults(run=_fetch)

    labels = commands.add_parser(
        "labels",
        help="score the detector's labels for the class names of the visual encoder",
        description="Let the language model score how well each label of the detector fits each "
        "class name of the visual encoder, and write the scores to a file. The node does this in "
        "the background and keeps the scores in the cache.",
    )
    add_model_options(labels)
    labels.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="folder of the file"
    )
    labels.set_defaults(run=_labels)

    list_ = commands.add_parser("list", help="list models and samples, and check their files")
    list_.add_argument("--json", action="store_true", help="print JSON")
    list_.set_defaults(run=_list)


def _fetch(args: argparse.Namespace) -> int:
    profiles = args.profile or ([] if args.names else ["embedded"])
    names = [*args.names, *(name for profile in profiles for name in PROFILES[profile])]
    store.fetch(list(dict.fromkeys(names)), print_progress)
    return 0


def _labels(args: argparse.Namespace) -> int:
    settings = model_settings(args)
    from mrmllm_ros.compute import Compute
    from mrmllm_ros.detection.detector import load_detector
    from mrmllm_ros.engine.answerer_loading import load_backbones, load_label_fusion

    evidence = replace(settings.evidence, visual_labels="always")
    # Other answerers do not correct labels.
    settings = replace(settings, answerer="mrmllm", evidence=evidence)
    compute = Compute.from_settings(settings.compute)
    print_progress("loading the models")
    backbones = load_backbones(settings, compute, load_detector(settings.detector, compute))
    fusion = load_label_fusion(settings, backbones)
    if fusion.knowledge is None:
        raise SettingsError(
            f"visual_encoder.model: {settings.visual_encoder.model} compares regions with labels "
            "itself, so there is nothing to score"
        )
    print_progress("scoring labels")
    fusion.wait()
    path = fusion.knowledge.export(fusion.labels, args.output)
    print_progress(f"saved {path}")
    return 0


def _list(args: argparse.Namespace) -> int:
    entries = store.status()
    if args.json:
        print(json.dumps([asdict(entry) for entry in entries], indent=2, default=str))
        return 0
    row = "{:24}{:16}{:28}{:>10}  {}"
    print(row.format("NAME", "KIND", "LICENSE", "SIZE", "STATE"))
    for entry in entries:
        size = megabytes(entry.size) if entry.size else "-"
        print(row.format(entry.name, entry.kind, entry.license, size, entry.state))
    print(f"in {store.home()}")
    return 0
