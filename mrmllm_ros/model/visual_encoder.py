# SPDX-License-Identifier: Apache-2.0
"""The frozen visual encoder: `V_m` of the MR-MLLM paper, tokens of the image as a whole."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
import transformers
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize
from transformers import AutoConfig, AutoImageProcessor, AutoModel, BaseImageProcessor

from mrmllm_ros.compute import Compute
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.settings import Validated, setting
from mrmllm_ros.weights.catalog import CATALOG
from mrmllm_ros.weights.pretrained import load_weights, resolve, revision


class VisualEncoderError(MrmllmError):
    """A visual encoder cannot be loaded; the message names it and the fix."""


@dataclass(frozen=True)
class VisualEncoderSettings(Validated):
    """Which visual encoder."""

    model: str = setting(
        "efficientnet-lite0",
        "Name of an embedded model (see `mrmllm models list`), a folder, or a vision model of the "
        "Hugging Face hub, such as a SigLIP, CLIP, DINOv2 or ViT.",
    )


@dataclass(frozen=True)
class NetworkInput:
    """What a network takes.

    Attributes:
        size: Height and width in pixels.
        mean: Of each of R, G, B, where 1 is full intensity.
        deviation: Of each of R, G, B, likewise.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class VisualEncoder(torch.nn.Module):
    """A frozen network that turns an image into a grid of tokens.

    It stays in evaluation mode and takes no gradient, whatever module it is a part of.

    Attributes:
        name: The model's name for messages, logs and checkpoints.
        revision: Which state of its weights, where that is known; else empty.
        grid: Rows and columns of its tokens; the whole image is spread over them.
        width: Width d_m of a token.
    """

    def __init__(
        self, network: torch.nn.Module, taken: NetworkInput, name: str, revision: str
    ) -> None:
        super().__init__()
        self.name = name
        self.revision = revision
        self._network = network.requires_grad_(False)
        self._size = taken.size
        for key, values in (("_mean", taken.mean), ("_deviation", taken.deviation)):
            value = torch.tensor(values, dtype=torch.float32).reshape(3, 1, 1)
            self.register_buffer(key, value, persistent=False)
        self.eval()
        features = self._features(torch.zeros(1, 3, *taken.size, dtype=self._dtype))
        self.grid = _grid(features, taken.size, network)
        self.width = self._tokens(features).shape[2]

    @classmethod
    def load(cls, settings: VisualEncoderSettings, compute: Compute) -> VisualEncoder:
        """Load the visual encoder that the settings name.

        Raises:
            VisualEncoderError: If it cannot be had or read, or gives no grid of tokens.
            WeightsError: If an embedded model is missing or damaged.
        """
        if not sys.stderr.isatty():
            transformers.utils.logging.disable_progress_bar()
        name = settings.model
        source = resolve(name, "visual encoder", "visual_encoder.model", VisualEncoderError)
        try:
            network, taken = _embedded(source) if name in CATALOG else _pretrained(source)
            encoder = cls(network, taken, Path(source).name, revision(name))
        except Exception as error:
            # A missing, a damaged and a foreign model each fail in their own way.
            reason = " ".join(str(error).split()).rstrip(".")
            raise VisualEncoderError(
                f"the visual encoder {name!r} cannot be loaded: {reason}. Name another with the "
                "parameter visual_encoder.model"
            ) from error
        encoder._network.to(compute.dtype)
        return encoder.to(compute.device)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self._network.parameters()).dtype

    def train(self, mode: bool = True) -> VisualEncoder:
        """Stay in evaluation mode: statistics and dropout of a frozen network are frozen too."""
        return super().train(False)

    def preprocess(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Make the network's input of images.

        Nothing is cropped away, so that boxes as shares of the image are shares of the grid too.

        Args:
            images: B arrays (H, W, 3), uint8 in BGR order; sizes may differ.

        Returns:
            (B, 3, height, width) in the network's precision, on its device.
        """
        pixels = torch.empty((len(images), 3, *self._size), device=self._mean.device)
        for slot, image in zip(pixels, images, strict=True):
            rgb = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).to(pixels.device)
            slot.copy_(resize(rgb.permute(2, 0, 1), list(self._size), InterpolationMode.BICUBIC))
        return ((pixels / 255 - self._mean) / self._deviation).to(self._dtype)

    @torch.no_grad()
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Encode images.

        Args:
            pixel_values: (B, 3, height, width) as `preprocess` makes them.

        Returns:
            (B, N_m, d_m) tokens of the grid, row by row, without any for the image as a whole.
        """
        return self._tokens(self._features(pixel_values))

    @torch.no_grad()
    def _features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """A map (B, d_m, rows, columns), or a sequence (B, T, d_m) that ends with the grid."""
        if isinstance(self._network, transformers.PreTrainedModel):
            return self._network(pixel_values=pixel_values).last_hidden_state
        return self._network.forward_features(pixel_values)

    def _tokens(self, features: torch.Tensor) -> torch.Tensor:
        if features.ndim == 4:
            return features.flatten(2).transpose(1, 2)
        # Class and register tokens stand in front.
        return features[:, -self.grid[0] * self.grid[1] :]


def _embedded(folder: str) -> tuple[torch.nn.Module, NetworkInput]:
    network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    about = network.pretrained_cfg
    return network, NetworkInput(tuple(about["input_size"][1:]), about["mean"], about["std"])


def _pretrained(source: str) -> tuple[transformers.PreTrainedModel, NetworkInput]:
    # Pickled weights and code that comes with a model are never run.
    options: dict[str, Any] = {
        "local_files_only": Path(source).is_dir(),
        "trust_remote_code": False,
    }
    config = AutoConfig.from_pretrained(source, **options)
    network = load_weights(
        AutoModel,
        source,
        # The pooled output is not used, and models tuned to classify come without its weights.
        besides="pooler",
        # Of a model of images and texts, such as CLIP, the half that sees.
        config=getattr(config, "vision_config", config),
        # Tried out before it goes to its device; not every processor computes in half precision.
        dtype=torch.float32,
        **options,
    )
    return network, _taken(AutoImageProcessor.from_pretrained(source, **options))


def _taken(processor: BaseImageProcessor) -> NetworkInput:
    size = processor.crop_size if getattr(processor, "do_center_crop", None) else processor.size
    height, width = size.get("height"), size.get("width")
    if height is None or width is None:
        height = width = size["shortest_edge"]
    if not processor.do_normalize:
        return NetworkInput((height, width), (0.0,) * 3, (1.0,) * 3)
    return NetworkInput((height, width), processor.image_mean, processor.image_std)


def _grid(
    features: torch.Tensor, size: tuple[int, int], network: torch.nn.Module
) -> tuple[int, int]:
    """Rows and columns of a network's features of one image."""
    if features.ndim == 4:
        return features.shape[2], features.shape[3]
    patch = np.broadcast_to(network.config.patch_size, 2)
    rows, columns = (int(edge // side) for edge, side in zip(size, patch, strict=True))
    if rows * columns > features.shape[1]:
        raise ValueError(
            f"{features.shape[1]} tokens are less than the {rows} x {columns} patches of its input"
        )
    return rows, columns
