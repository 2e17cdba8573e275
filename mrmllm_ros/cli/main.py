# SPDX-License-Identifier: Apache-2.0
"""Entry of the command `mrmllm`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import mrmllm_ros
from mrmllm_ros.cli import benchmark, demo, evaluate, images, models, output, parameters, train
from mrmllm_ros.errors import MrmllmError

# As a shell reports a program that SIGINT or SIGPIPE has ended.
_INTERRUPTED, _READER_GONE = 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command.

    Args:
        arguments: Those of the command line, without the program's name.

    Returns:
        0 on success, 1 where part of the input gave no result, 2 for what the user can fix, 130
        when interrupted, 141 when nobody reads the output any more.
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
        return _READER_GONE
    except OSError as error:
        output.print_error(_reason(error))
        return output.FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="mrmllm", description=mrmllm_ros.__doc__)
    parser.add_argument("--version", action="version", version=mrmllm_ros.__version__)
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (images, models, parameters, demo, train, evaluate, benchmark):
        command.add_parser(subparsers)
    options = parser.parse_args(arguments)
    return options.run(options)


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"cannot read or write: {reason}"
    return f"cannot use {error.filename}: {reason}"


if __name__ == "__main__":
    sys.exit(main())
