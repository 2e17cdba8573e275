# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0: from a PyTorch pickle to safetensors in timm's layout.

The folder written here is what `timm.create_model("local-dir:<folder>", pretrained=True)` reads.
The weights come from TensorFlow, so they need timm's `tf_efficientnet_lite0`: its namesake without
the prefix has the same layers but pads differently and has another epsilon, and loads them without
a complaint for other results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

ARCHITECTURE = "tf_efficientnet_lite0"

# How many blocks each of the seven stages has; the origin counts them through.
_STAGES = (1, 2, 2, 3, 3, 4, 1)
_BLOCKS = tuple((stage, index) for stage, count in enumerate(_STAGES) for index in range(count))

_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {  # the only one that does not expand its channels
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def convert(files: Mapping[str, Path], directory: Path) -> None:
    """Write `model.safetensors` and `config.json`.

    Args:
        files: The origin files by name: one `.pth` file with a state dictionary.
        directory: The existing folder that receives the two files.
    """
    (pickle,) = files.values()
    state = torch.load(pickle, map_location="cpu", weights_only=True)
    save_file(
        {timm_name(name): tensor.contiguous() for name, tensor in state.items()},
        directory / "model.safetensors",
    )
    text = json.dumps(_config(), indent=2) + "\n"
    (directory / "config.json").write_text(text, encoding="utf-8")


def timm_name(name: str) -> str:
    """Translate the name of a weight.

    Args:
        name: The origin's name, such as `_blocks.1._bn0.weight`.

    Returns:
        timm's name for it, such as `blocks.1.0.bn1.weight`.
    """
    if not name.startswith("_blocks."):
        layer, rest = name.split(".", 1)
        return f"{_OUTSIDE_BLOCKS[layer]}.{rest}"
    _, number, layer, rest = name.split(".", 3)
    stage, index = _BLOCKS[int(number)]
    layers = _FIRST_BLOCK if number == "0" else _OTHER_BLOCKS
    return f"blocks.{stage}.{index}.{layers[layer]}.{rest}"


def _config() -> dict[str, object]:
    """The model's description as timm reads it; mean and deviation are for RGB in 0..1."""
    return {
        "architecture": ARCHITECTURE,
        "num_classes": 1000,
        "num_features": 1280,
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "mean": [127 / 255] * 3,
            "std": [128 / 255] * 3,
            "interpolation": "bicubic",
            "crop_pct": 0.875,
            "num_classes": 1000,
            "pool_size": [7, 7],
            "first_conv": "conv_stem",
            "classifier": "classifier",
            "license": "apache-2.0",
        },
    }
