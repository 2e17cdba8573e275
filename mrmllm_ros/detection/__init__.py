# SPDX-License-Identifier: Apache-2.0
"""Images, detectors, tracking, colors and drawing; ROS-free."""
