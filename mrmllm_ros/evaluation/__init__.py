# SPDX-License-Identifier: Apache-2.0
"""Evaluation of answers and detections of the fusion model."""
