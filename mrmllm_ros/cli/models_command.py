# SPDX-License-Identifier: Apache-2.0
"""`mrmllm models`: fetch and list the embedded models and samples."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from mrmllm_ros.cli.output import print_progress
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

    list_ = commands.add_parser("list", help="list models and samples, and check their files")
    list_.add_argument("--json", action="store_true", help="print JSON")
    list_.set_defaults(run=_list)


def _fetch(args: argparse.Namespace) -> int:
    profiles = args.profile or ([] if args.names else ["embedded"])
    names = [*args.names, *(name for profile in profiles for name in PROFILES[profile])]
    store.fetch(list(dict.fromkeys(names)), print_progress)
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
