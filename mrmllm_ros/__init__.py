# SPDX-License-Identifier: Apache-2.0
"""Mutual reinforcement of language and perception for robots (MR-MLLM, arXiv 2406.15768)."""

from __future__ import annotations

import os
import pkgutil
from typing import TYPE_CHECKING, Any

from mrmllm_ros import environment

if TYPE_CHECKING:
    from mrmllm_ros.pipeline import Pipeline

# In the source tree this folder hides the installed package with the generated messages; the
# extended path finds both.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"

# Before any library is imported.
environment.apply()


def load(source: str | os.PathLike[str] = "", /, **settings: Any) -> Pipeline:
    """Load the detector and the model that answers questions; needs no ROS.

    Args:
        source: Name of a profile (`embedded`, `gpu`) or path of a ROS 2 parameter file of
            `mrmllm_node`; empty for the defaults.
        settings: Parameters (docs/parameters.md) that override the file; a group is a
            dictionary, such as `detector={"model": "yolo.onnx", "score_threshold": 0.4}`.

    Returns:
        Pipeline that detects objects and answers questions. Close it to free the models' memory.

    Raises:
        SettingsError: If the profile or file does not exist, or a setting is unknown or invalid.
        MrmllmError: If a model cannot be loaded.

    Example:
        >>> model = mrmllm_ros.load("embedded", compute={"device": "cpu"})
        >>> answer = model.ask("photo.jpg", "How many people are there?")
        >>> answer.text, answer.cited
    """
    # Imports PyTorch, which light nodes and commands do not need.
    from mrmllm_ros.pipeline import Pipeline, read_settings

    return Pipeline.load(read_settings(source, settings))
