# SPDX-License-Identifier: Apache-2.0
"""Questions about scenes: grammar, templates, families and the sampler."""
