# SPDX-License-Identifier: Apache-2.0
"""What the fusion model is trained and examined on."""
