# SPDX-License-Identifier: Apache-2.0
"""ROS messages to and from the package's own types; the one place that knows both."""
