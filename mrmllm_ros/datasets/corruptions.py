# SPDX-License-Identifier: Apache-2.0
"""Simulated image faults of a robot's camera, with severities as in ImageNet-C.

A detector finds fewer objects in a corrupted image. Its detections in the clean image can then
serve as labels.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import cv2
import numpy as np

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

SEVERITIES = (1, 2, 3)


def corrupt(image: np.ndarray, kind: str, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Corrupt an image.

    Args:
        image: (H, W, 3) uint8 in BGR order; not modified.
        kind: One of `CORRUPTIONS`.
        severity: 1 mild, 2 clear, 3 severe; objects stay visible.
        rng: Source of randomness; the same state gives the same image.

    Returns:
        (H, W, 3) uint8 in BGR order.

    Raises:
        ValueError: If the kind or the severity is unknown.
    """
    if kind not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {kind!r}; choose from {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity is {severity}; choose 1, 2 or 3")
    return CORRUPTIONS[kind](image, severity, rng)


def _blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Motion blur or defocus, in proportion to the image size."""
    shortest = min(image.shape[:2])
    extent = shortest * _choose(severity, 0.012, 0.025, 0.05)  # pixels
    kernel = _streak(extent * 1.5, rng) if rng.random() < 0.5 else _disc(extent / 2)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def _streak(length: float, rng: np.random.Generator) -> np.ndarray:
    """Kernel of motion blur: a line in a random direction."""
    side = max(3, round(length)) | 1
    center = side // 2
    angle = rng.uniform(0, np.pi)
    reach = center * np.array([np.cos(angle), np.sin(angle)])
    ends = [tuple(int(v) for v in np.rint(center + sign * reach)) for sign in (-1, 1)]
    kernel = np.zeros((side, side), np.float32)
    cv2.line(kernel, *ends, 1.0)
    return kernel / kernel.sum()


def _disc(radius: float) -> np.ndarray:
    """Kernel of defocus."""
    reach = max(1, round(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = (x**2 + y**2 <= max(radius, 1.0) ** 2).astype(np.float32)
    return kernel / kernel.sum()


def _noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    deviation = _choose(severity, 12, 25, 45)
    return _bytes(image + _normal(image.shape, rng) * deviation)


def _dark(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Low light: dim, with less contrast in the shadows, and noisy."""
    gain = _choose(severity, 0.5, 0.3, 0.15) * rng.uniform(0.85, 1.15)
    gamma = _choose(severity, 1.2, 1.3, 1.4)
    dim = (np.arange(256, dtype=np.float32) / 255) ** gamma * 255 * gain
    return _bytes(dim[image] + _normal(image.shape, rng) * _choose(severity, 2, 3, 4))


def _glare(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A lamp or the sun in view: a bright spot and a veil over the image."""
    height, width = image.shape[:2]
    radius = max(height, width) * _choose(severity, 0.25, 0.38, 0.5)
    y, x = np.ogrid[:height, :width]
    spot_y, spot_x = rng.uniform(0.1, 0.6) * height, rng.uniform(0.1, 0.9) * width
    distance = np.hypot(y - spot_y, x - spot_x) / radius
    light = np.exp(-(distance**2)) + _choose(severity, 0.05, 0.12, 0.2)
    veil = light[..., None].clip(0, 1).astype(np.float32) * _choose(severity, 0.75, 0.85, 0.95)
    tint = np.array([rng.uniform(205, 255), 245, 255], np.float32)
    return _bytes(image * (1 - veil) + tint * veil)


def _fog(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Cloudy fog, denser towards the top, where a scene is usually farther away."""
    height, width = image.shape[:2]
    depth = np.linspace(1.25, 0.75, height, dtype=np.float32)[:, None]
    coarse = rng.uniform(0.8, 1.2, (4, 5)).astype(np.float32)
    clouds = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    share = (_choose(severity, 0.4, 0.58, 0.72) * depth * clouds).clip(0, 0.93)[..., None]
    return _bytes(image * (1 - share) + rng.uniform(185, 225) * share)


def _jpeg(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    quality = _choose(severity, 22, 11, 5) + int(rng.integers(-1, 2))
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


def _occlusion(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Objects close to the camera that cover 10, 20 or 35 % of the image."""
    target = _choose(severity, 0.10, 0.20, 0.35)
    covered = np.zeros(image.shape[:2], np.uint8)
    result = image.copy()
    # Each shape covers a part of the missing share, so that the sum approaches it from below.
    while (missing := target - np.count_nonzero(covered) / covered.size) > 0.01:
        shape = _shape(image.shape[:2], missing * rng.uniform(0.35, 1.0), rng)
        result = np.where(shape[..., None] > 0, _surface(image, rng), result)
        covered |= shape
    return result


def _shape(size: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint8 mask of a random box or ellipse that covers a share of the image."""
    height, width = size
    aspect = rng.uniform(0.5, 2.0)
    is_ellipse = rng.random() < 0.5
    area = share * height * width * (4 / np.pi if is_ellipse else 1)
    tall = int(np.clip(np.sqrt(area / aspect), 1, height))
    wide = int(np.clip(area / tall, 1, width))
    top, left = (int(rng.integers(0, room + 1)) for room in (height - tall, width - wide))
    mask = np.zeros(size, np.uint8)
    if is_ellipse:
        center = (left + wide // 2, top + tall // 2)
        cv2.ellipse(mask, center, (wide // 2, tall // 2), 0, 0, 360, 1, cv2.FILLED)
    else:
        mask[top : top + tall, left : left + wide] = 1
    return mask


def _surface(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 texture: the image, shifted and blurred, or a gray gradient."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        moved = np.roll(image, (height // 2, int(rng.integers(width // 4, width))), (0, 1))
        return cv2.blur(moved, (max(1, width // 20), max(1, height // 20)))
    shade = np.linspace(*rng.uniform(30, 200, 2), width, dtype=np.float32)
    grain = _normal((height, width), rng) * 4
    return np.repeat(_bytes(shade + grain)[..., None], 3, axis=2)


def _scaling(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Low resolution."""
    height, width = image.shape[:2]
    factor = _choose(severity, 0.4, 0.22, 0.12) * rng.uniform(0.9, 1.1)
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR)


def _choose(severity: int, *values: float) -> float:
    return values[severity - 1]


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


CORRUPTIONS: MappingProxyType[str, Corruption] = MappingProxyType(
    {
        "blur": _blur,
        "noise": _noise,
        "dark": _dark,
        "glare": _glare,
        "fog": _fog,
        "jpeg": _jpeg,
        "occlusion": _occlusion,
        "scaling": _scaling,
    }
)
