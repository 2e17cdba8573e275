# SPDX-License-Identifier: Apache-2.0
"""Objects in space: depth, camera geometry and distances; needs no ROS."""
