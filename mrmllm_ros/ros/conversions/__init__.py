# SPDX-License-Identifier: Apache-2.0
"""Conversions between ROS messages and the types of the package."""
