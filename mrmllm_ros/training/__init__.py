# SPDX-License-Identifier: Apache-2.0
"""Data, trainer and evaluation of the fusion model; needs no ROS."""
