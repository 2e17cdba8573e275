# SPDX-License-Identifier: Apache-2.0
"""Entry of the command `mrmllm`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import mrmllm_ros
from mrmllm_ros.cli import benchmark, demo, evaluate, images, models, parameters, train
from mrmllm_ros.errors import MrmllmError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command.

    Args:
        arguments: Those of the command line, without the program's name.

    Returns:
        0 on success, 2 for what the user can mend, 130 when interrupted.
    """
    parser = argparse.ArgumentParser(prog="mrmllm", description=mrmllm_ros.__doc__)
    parser.add_argument("--version", action="version", version=mrmllm_ros.__version__)
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (images, models, parameters, demo, train, evaluate, benchmark):
        command.add_parser(subparsers)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except MrmllmError as error:
        print(f"mrmllm: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
