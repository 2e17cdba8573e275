# SPDX-License-Identifier: Apache-2.0
"""What is in an image and where: `Detections` and the detectors that make them. ROS-free."""
