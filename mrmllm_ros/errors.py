# SPDX-License-Identifier: Apache-2.0
"""Base class of the package's errors, and numbers in messages; imports nothing of the package."""


class MrmllmError(Exception):
    """An error that the user can fix; the message is one line with the fix."""


def rounded(value: float, digits: int = 3) -> str:
    """Format a number for a message, rounded but never to zero.

    Args:
        value: Non-negative number.
        digits: Significant digits; digits before the decimal point are never rounded.

    Returns:
        Text such as `0.001`, `0.0523`, `12.3` or `31536000`, without trailing zeros.
    """
    return f"{value:.0f}" if value >= 10**digits else f"{value:.{digits}g}"
