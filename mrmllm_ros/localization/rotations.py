# SPDX-License-Identifier: Apache-2.0
"""Rotations as quaternions x, y, z, w and as matrices."""

from __future__ import annotations

import numpy as np


def matrix_from_xyzw(xyzw: np.ndarray) -> np.ndarray:
    """Convert a (4,) unit quaternion to a rotation matrix, (3, 3) float64.

    Example:
        >>> matrix_from_xyzw(np.array([0.0, 0.0, 1.0, 0.0])) @ (1.0, 2.0, 3.0)
        array([-1., -2.,  3.])
    """
    x, y, z, w = xyzw
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    # Rodrigues' formula.
    return np.eye(3) + 2 * (w * cross + cross @ cross)


def xyzw_from_matrix(rotation: np.ndarray) -> np.ndarray:
    """Convert a (3, 3) rotation matrix to a unit quaternion, (4,) float64 with w >= 0."""
    # The quaternion is the eigenvector of the greatest eigenvalue (Bar-Itzhack, 2000).
    (a, b, c), (d, e, f), (g, h, i) = rotation
    symmetric = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    xyzw = np.linalg.eigh(symmetric)[1][:, -1]
    return xyzw if xyzw[3] >= 0 else -xyzw
