# SPDX-License-Identifier: Apache-2.0
"""Frozen visual encoder: `V_m` of the MR-MLLM paper, tokens of the whole image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
import transformers
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import AutoConfig, AutoImageProcessor, AutoModel, BaseImageProcessor

from mrmllm_ros.compute import Compute
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.model_settings import VisualEncoderSettings
from mrmllm_ros.weights.catalog import CATALOG
from mrmllm_ros.weights.pretrained import (
    load_weights,
    loading,
    resolve,
    revision,
    safe_options,
)


class VisualEncoderError(MrmllmError):
    """A visual encoder cannot be loaded."""


@dataclass(frozen=True)
class NetworkInput:
    """Input format of a network.

    Attributes:
        size: Height and width in pixels.
        mean: Mean of R, G, B, normalized to 1.
        deviation: Standard deviation of R, G, B, normalized to 1.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class VisualEncoder(torch.nn.Module):
    """A frozen network that converts an image to a grid of tokens.

    As part of another module it stays in evaluation mode and without gradients.

    Attributes:
        network: The frozen network.
        name: Name of the model, for messages, logs and checkpoints.
        revision: Revision of its weights; empty if unknown.
        grid: Rows and columns of tokens, which cover the whole image.
        width: Size d_m of a token.
    """

    def __init__(
        self, network: torch.nn.Module, inputs: NetworkInput, name: str, revision: str
    ) -> None:
        super().__init__()
        self.name = name
        self.revision = revision
        self.network = network.requires_grad_(False)
        self._size = inputs.size
        for key, values in (("_mean", inputs.mean), ("_deviation", inputs.deviation)):
            value = torch.tensor(values, dtype=torch.float32).reshape(3, 1, 1)
            self.register_buffer(key, value, persistent=False)
        self.eval()
        features = self._features(torch.zeros(1, 3, *inputs.size, dtype=self._dtype))
        self.grid = _grid(features, inputs.size, network)
        self.width = self._tokens(features).shape[2]

    @classmethod
    def load(cls, settings: VisualEncoderSettings, compute: Compute) -> VisualEncoder:
        """Load the visual encoder that the settings name.

        Raises:
            VisualEncoderError: If the model cannot be found or loaded, or gives no grid of tokens.
            WeightsError: If an embedded model is missing or damaged.
        """
        name = settings.model
        named = ("visual encoder", name, "visual_encoder.model", VisualEncoderError)
        source = resolve(*named)
        with loading(*named):
            network, inputs = _embedded(source) if name in CATALOG else _pretrained(source)
            encoder = cls(network, inputs, Path(source).name, revision(name))
        encoder.network.to(compute.dtype)
        return encoder.to(compute.device)

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self._mean.device

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype

    def train(self, mode: bool = True) -> VisualEncoder:
        """Stay in evaluation mode, so that batch statistics and dropout are frozen too."""
        return super().train(False)

    def preprocess(
        self, images: Sequence[np.ndarray], size: tuple[int, int] | None = None
    ) -> torch.Tensor:
        """Create the network's input.

        Images are resized without cropping, so that boxes and grid share normalized coordinates.

        Args:
            images: B arrays (H, W, 3), uint8 in BGR order; sizes may differ.
            size: Height and width in pixels; by default those of the network.

        Returns:
            (B, 3, height, width) in the network's precision, on its device.
        """
        size = size or self._size
        pixels = torch.empty((len(images), 3, *size), device=self._mean.device)
        for slot, image in zip(pixels, images, strict=True):
            rgb = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).to(pixels.device)
            slot.copy_(_resize(rgb.permute(2, 0, 1), size))
        return ((pixels / 255 - self._mean) / self._deviation).to(self._dtype)

    @torch.no_grad()
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Encode images.

        Args:
            pixel_values: (B, 3, height, width) output of `preprocess`.

        Returns:
            (B, N_m, d_m) tokens of the grid, row by row, without class tokens.
        """
        return self._tokens(self._features(pixel_values))

    @torch.no_grad()
    def _features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Feature map (B, d_m, rows, columns), or sequence (B, T, d_m) that ends with the grid."""
        if isinstance(self.network, transformers.PreTrainedModel):
            return self.network(pixel_values=pixel_values).last_hidden_state
        return self.network.forward_features(pixel_values)

    def _tokens(self, features: torch.Tensor) -> torch.Tensor:
        if features.ndim == 4:
            return features.flatten(2).transpose(1, 2)
        # Class and register tokens come first.
        return features[:, -self.grid[0] * self.grid[1] :]


def _resize(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize a (3, H, W) uint8 image, bicubic with antialiasing."""
    if image.device.type == "cpu":
        [resized] = interpolate(image[None], size, mode="bicubic", antialias=True)
        return resized
    # CUDA has no kernel for uint8.
    [resized] = interpolate(image[None].float(), size, mode="bicubic", antialias=True)
    return resized.round().clamp(0, 255)


def _embedded(folder: str) -> tuple[torch.nn.Module, NetworkInput]:
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    about = network.pretrained_cfg
    fold_normalization(network)
    # The kernels for the processor work on it.
    network.to(memory_format=torch.channels_last)
    return network, NetworkInput(tuple(about["input_size"][1:]), about["mean"], about["std"])


def fold_normalization(network: torch.nn.Module) -> None:
    """Fold each batch normalization into the convolution before it.

    Args:
        network: Convolutional network of timm in evaluation mode, where a normalization follows
            its convolution in the same module and may have an activation.
    """
    for module in network.modules():
        children = list(module.named_children())
        for (name, layer), (next_name, norm) in itertools.pairwise(children):
            if isinstance(layer, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, next_name, getattr(norm, "act", torch.nn.Identity()))


def _pretrained(source: str) -> tuple[transformers.PreTrainedModel, NetworkInput]:
    options = safe_options(source)
    config = AutoConfig.from_pretrained(source, **options)
    network = load_weights(
        AutoModel,
        source,
        # The pooled output is not used, and classifiers come without its weights.
        besides="pooler",
        # The vision part of a model of images and texts, such as CLIP.
        config=getattr(config, "vision_config", config),
        # Run once on the CPU, which may not support half precision.
        dtype=torch.float32,
        **options,
    )
    return network, _network_input(AutoImageProcessor.from_pretrained(source, **options))


def _network_input(processor: BaseImageProcessor) -> NetworkInput:
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
    """Rows and columns of the grid of tokens."""
    if features.ndim == 4:
        return features.shape[2], features.shape[3]
    patch = np.broadcast_to(network.config.patch_size, 2)
    rows, columns = (int(edge // side) for edge, side in zip(size, patch, strict=True))
    if rows * columns > features.shape[1]:
        raise ValueError(
            f"{features.shape[1]} tokens are less than the {rows} x {columns} patches of its input"
        )
    return rows, columns
