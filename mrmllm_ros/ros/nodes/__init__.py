# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 nodes, one a file."""

import sys

from mrmllm_ros.interrupts import end_while_importing

# `python -m mrmllm_ros.ros.nodes.NAME` loads this package first and then the node's module.
if sys.argv[0] == "-m":
    end_while_importing()
