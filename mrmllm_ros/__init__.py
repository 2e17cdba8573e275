# SPDX-License-Identifier: Apache-2.0
"""Mutual reinforcement of language and perception for robots (MR-MLLM, arXiv 2406.15768)."""

import pkgutil

from mrmllm_ros import environment

# Run from the source tree, this folder hides the installed package that holds the generated
# messages; with the extended path both are found.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"

# Here, so that it comes before every library, however the package is used.
environment.apply()
