# SPDX-License-Identifier: Apache-2.0
"""Convert EfficientNet-Lite0 from a PyTorch pickle to safetensors for timm.

Load it with `timm.create_model("local-dir:<folder>", pretrained=True)`. The weights are from
TensorFlow and need `tf_efficientnet_lite0`: `efficientnet_lite0` loads them without an error, but
with another padding and epsilon, and returns wrong results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

ARCHITECTURE = "tf_efficientnet_lite0"

# Number of blocks in each stage; the original names number them across stages.
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
        files: Downloaded files by name: a `.pth` file with a state dictionary.
        directory: Existing output folder.
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
    """Convert the name of a weight: `_blocks.1._bn0.weight` to timm's `blocks.1.0.bn1.weight`."""
    if not name.startswith("_blocks."):
        layer, rest = name.split(".", 1)
        return f"{_OUTSIDE_BLOCKS[layer]}.{rest}"
    _, number, layer, rest = name.split(".", 3)
    stage, index = _BLOCKS[int(number)]
    layers = _FIRST_BLOCK if number == "0" else _OTHER_BLOCKS
    return f"blocks.{stage}.{index}.{layers[layer]}.{rest}"


def _config() -> dict[str, object]:
    """Configuration for timm; mean and standard deviation are for RGB in 0..1."""
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
