# SPDX-License-Identifier: Apache-2.0
"""Measurements behind `mrmllm benchmark`; each compares two things in one run."""
