# SPDX-License-Identifier: Apache-2.0
"""Scenes with ground truth: rendered rooms and pasted cut-outs."""
