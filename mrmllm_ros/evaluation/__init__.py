# SPDX-License-Identifier: Apache-2.0
"""How well the fusion model answers and perceives."""
