# SPDX-License-Identifier: Apache-2.0
"""Values on the command line that must be in a range."""

from __future__ import annotations

import argparse


def positive_int(text: str) -> int:
    """A whole number from 1 on, for `type` of an argument."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def positive_float(text: str) -> float:
    """A number above 0, for `type` of an argument."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
