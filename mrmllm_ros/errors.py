# SPDX-License-Identifier: Apache-2.0
"""The base of the package's errors."""


class MrmllmError(Exception):
    """A failure that the user can mend; the message is one line that says how."""


def rounded(value: float, digits: int = 3) -> str:
    """Write a number for a message, with enough digits to tell it from zero.

    Args:
        value: A number, not negative.
        digits: Significant digits; those before the decimal point are all written.

    Returns:
        Such as `0.001`, `0.0523`, `12.3` or `31536000`, without zeros at the end.
    """
    return f"{value:.0f}" if value >= 10**digits else f"{value:.{digits}g}"
