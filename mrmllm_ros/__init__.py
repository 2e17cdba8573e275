# SPDX-License-Identifier: Apache-2.0
"""Mutual reinforcement of language and perception for robots (MR-MLLM, arXiv 2406.15768)."""

from __future__ import annotations

import os
import pkgutil
from typing import TYPE_CHECKING, Any

from mrmllm_ros import environment

if TYPE_CHECKING:
    from mrmllm_ros.pipeline import Pipeline

# Run from the source tree, this folder hides the installed package that holds the generated
# messages; with the extended path both are found.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"

# Here, so that it comes before every library, however the package is used.
environment.apply()


def load(source: str | os.PathLike[str] = "", /, **settings: Any) -> Pipeline:
    """Load a detector and a model that answers questions; needs no ROS.

    Args:
        source: Name of a profile (`embedded`, `gpu`), or path of a ROS 2 parameter file of
            `mrmllm_node`; without it, the defaults of `mrmllm ask`.
        settings: Settings that replace those of the file, with the names of the parameters
            (docs/parameters.md); a group is a dictionary, such as
            `detector={"model": "yolo.onnx", "score_threshold": 0.4}`.

    Returns:
        Finds objects and answers questions; closing it frees the models' memory.

    Raises:
        SettingsError: If there is no such profile or file, or a setting is unknown or wrong.
        MrmllmError: If a model cannot be loaded; the message says how to fix it.

    Example:
        >>> model = mrmllm_ros.load("embedded", compute={"device": "cpu"})
        >>> answer = model.ask("photo.jpg", "How many people are there?")
        >>> answer.text, answer.cited
    """
    # Loads PyTorch, for which the light nodes and commands have no use.
    from mrmllm_ros.pipeline import Pipeline, read_settings

    return Pipeline.load(read_settings(source, settings))
