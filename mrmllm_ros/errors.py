# SPDX-License-Identifier: Apache-2.0
"""The base of the package's errors."""


class MrmllmError(Exception):
    """A failure that the user can mend; the message is one line that says how."""
