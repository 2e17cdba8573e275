# SPDX-License-Identifier: Apache-2.0
"""The only part that imports rclpy: nodes and conversions of messages."""
