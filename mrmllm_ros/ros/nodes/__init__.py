# SPDX-License-Identifier: Apache-2.0
"""ROS 2 nodes, one per module."""

import sys

from mrmllm_ros.interrupts import end_while_importing

# `python -m mrmllm_ros.ros.nodes.NAME` imports this package before the module of the node.
if sys.argv[0] == "-m":
    end_while_importing()
