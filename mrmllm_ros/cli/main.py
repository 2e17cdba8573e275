# SPDX-License-Identifier: Apache-2.0
"""Entry point of the command `mrmllm`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import mrmllm_ros
from mrmllm_ros.cli import output
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.interrupts import INTERRUPTED, ending_while_importing

if TYPE_CHECKING:
    import argparse

# Exit status of a program that SIGPIPE ended.
_BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: Arguments without the program's name; None for the command line's.

    Returns:
        Exit status: 0 for success, 1 if part of the input gave no result, 2 for an error that the
        user can fix, 75 if the same command continues the work, 130 if interrupted, 141 if the
        reader of the output closed the pipe.
    """
    output.escape_unencodable()
    try:
        try:
            return _run(arguments)
        except MrmllmError as error:
            output.print_error(error)
            return output.FAILED
        finally:
            output.flush()
    except BrokenPipeError:
        return _BROKEN_PIPE
    except OSError as error:
        output.print_error(_reason(error))
        return output.FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    with ending_while_importing():
        options = _parser().parse_args(arguments)
        return options.run(options)


def _parser() -> argparse.ArgumentParser:
    # Imported here, where Ctrl-C is handled, because the imports take a while.
    import argparse

    from mrmllm_ros.cli import benchmark_command as benchmark
    from mrmllm_ros.cli import demo_command as demo
    from mrmllm_ros.cli import evaluate_command as evaluate
    from mrmllm_ros.cli import image_commands as images
    from mrmllm_ros.cli import models_command as models
    from mrmllm_ros.cli import parameters_command as parameters
    from mrmllm_ros.cli import scenes_command as scenes
    from mrmllm_ros.cli import train_command as train

    parser = argparse.ArgumentParser(prog="mrmllm", description=mrmllm_ros.__doc__)
    parser.add_argument("--version", action="version", version=mrmllm_ros.__version__)
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (images, models, parameters, demo, scenes, train, evaluate, benchmark):
        command.add_parser(subparsers)
    return parser


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"cannot read or write: {reason}"
    return f"cannot use {error.filename}: {reason}"


if __name__ == "__main__":
    sys.exit(main())
