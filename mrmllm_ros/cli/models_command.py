# SPDX-License-Identifier: Apache-2.0
"""`mrmllm models`: fetch the embedded models and samples, and list what is there."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from mrmllm_ros.cli.output import print_progress
from mrmllm_ros.weights import store
from mrmllm_ros.weights.catalog import CATALOG, PROFILES
from mrmllm_ros.weights.sources import megabytes


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `mrmllm models`.

    Args:
        subparsers: What `ArgumentParser.add_subparsers` of the main parser returned.
    """
    parser = subparsers.add_parser("models", help="fetch and list models and samples")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fetching = commands.add_parser(
        "fetch",
        help="bring models or samples into the cache",
        description="Bring models or samples into the cache, $MRMLLM_HOME or ~/.cache/mrmllm_ros. "
        "What is there and intact is left alone; without arguments: the profile `embedded`.",
    )
    fetching.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(CATALOG)}"
    )
    profiles = "; ".join(f"{profile}: {', '.join(names)}" for profile, names in PROFILES.items())
    fetching.add_argument(
        "--profile",
        choices=PROFILES,
        action="append",
        default=[],
        help=f"a group of them; may be given more than once ({profiles})",
    )
    fetching.set_defaults(run=_fetch)

    listing = commands.add_parser("list", help="say what is there, every file checked")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)


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
