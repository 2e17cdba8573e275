# SPDX-License-Identifier: Apache-2.0
"""Models that answer questions about images; needs no ROS."""
