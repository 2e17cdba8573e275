# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.localization.rotations import matrix_from_xyzw, xyzw_from_matrix

HALF = np.sqrt(0.5)


@pytest.mark.parametrize(
    ("xyzw", "point", "turned"),
    [
        ((HALF, 0, 0, HALF), (0, 1, 0), (0, 0, 1)),
        ((0, HALF, 0, HALF), (0, 0, 1), (1, 0, 0)),
        ((0, 0, HALF, HALF), (1, 0, 0), (0, 1, 0)),
        ((0, 0, 0, 1), (1, 2, 3), (1, 2, 3)),
    ],
)
def test_a_quarter_turn_follows_the_right_hand(xyzw, point, turned):
    np.testing.assert_allclose(matrix_from_xyzw(np.array(xyzw)) @ point, turned, atol=1e-12)


def test_any_rotation_survives_the_quaternion():
    rng = np.random.default_rng(0)
    half_turns = [np.diag(signs) for signs in ((1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
    for matrix in (*half_turns, *rng.normal(size=(20, 3, 3))):
        rotation, _ = np.linalg.qr(matrix)
        rotation *= np.linalg.det(rotation)
        xyzw = xyzw_from_matrix(rotation)
        assert xyzw[3] >= 0
        np.testing.assert_allclose(matrix_from_xyzw(xyzw), rotation, atol=1e-12)
