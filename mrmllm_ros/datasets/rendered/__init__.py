# SPDX-License-Identifier: Apache-2.0
"""Rendered indoor scenes with ground truth, from 3D models of furniture and household objects."""
