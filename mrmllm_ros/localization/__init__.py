# SPDX-License-Identifier: Apache-2.0
"""3D locations and distances of objects from depth; ROS-free."""
