# SPDX-License-Identifier: Apache-2.0
"""Worker threads, frame slots and scene memory; ROS-free."""
