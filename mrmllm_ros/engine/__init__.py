# SPDX-License-Identifier: Apache-2.0
"""Frames in, scenes and answers out, on threads of their own. ROS-free."""
