# SPDX-License-Identifier: Apache-2.0
"""Perception and language together: prompt, language model, answers. ROS-free."""
