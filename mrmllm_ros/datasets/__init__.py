# SPDX-License-Identifier: Apache-2.0
"""Data for training and evaluation of the fusion model."""
