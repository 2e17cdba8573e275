# SPDX-License-Identifier: Apache-2.0
"""Effects of a real camera on a rendered image: exposure, noise, motion blur, distortion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mrmllm_ros.datasets.rendered.camera_model import PinholeCamera

_MAX_BLUR = 9.0  # pixels
# Of the inversion of the distortion: iterations and pixels.
_CONVERGED = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 1000, 0.01)


@dataclass(frozen=True, kw_only=True)
class EffectSettings:
    """Effects of the camera.

    Attributes:
        noise: Largest standard deviation of the noise, of 0 to 255; up to 128.
        motion_blur: Probability that an image has motion blur.
        distortion: Largest radial distortion k1 of either sign, up to 0.4; 0 for rectified images.

    Raises:
        ValueError: If a value is outside its range.
    """

    noise: float = 6.0
    motion_blur: float = 0.2
    distortion: float = 0.0

    def __post_init__(self) -> None:
        limits = {"noise": 128.0, "motion_blur": 1.0, "distortion": 0.4}
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:  # also if it is NaN
                raise ValueError(
                    f"{name.replace('_', ' ')} is {value}; it must be from 0 to {limit:g}"
                )


def apply_effects(
    image_bgr: np.ndarray, settings: EffectSettings, rng: np.random.Generator
) -> np.ndarray:
    """Change brightness and contrast a little, then blur and add noise.

    Args:
        image_bgr: (H, W, 3) uint8.
        settings: Strength of the effects.
        rng: Source of the choices.
    """
    image = image_bgr.astype(np.float32)
    image = (image - 128) * rng.uniform(0.88, 1.08) + 128 + rng.uniform(-10, 10)
    length, angle = rng.uniform(2, _MAX_BLUR), rng.uniform(0, np.pi)
    if rng.random() < settings.motion_blur:
        image = cv2.filter2D(image, -1, _motion_kernel(length, angle))
    deviation = rng.uniform(0, settings.noise)
    image += rng.normal(0, 1, image.shape).astype(np.float32) * deviation
    return image.clip(0, 255).astype(np.uint8)


def draw_distortion(settings: EffectSettings, rng: np.random.Generator) -> np.ndarray:
    """(5,) coefficients k1, k2, p1, p2, k3 of the model `plumb_bob`."""
    k1 = rng.uniform(-1, 1) * settings.distortion
    return np.array([k1, -0.2 * k1, 0.0, 0.0, 0.0])


def distort(image: np.ndarray, camera: PinholeCamera, coefficients: np.ndarray) -> np.ndarray:
    """Move the pixels of a pinhole image to where a distorting lens shows them.

    Args:
        image: (H, W) or (H, W, 3); integers and depths are not interpolated.
        camera: Camera of the image; the distorted camera has the same matrix.
        coefficients: (5,) of the model `plumb_bob`.
    """
    if not coefficients.any():
        return image
    width, height = camera.resolution_wh
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    # The 5 iterations of undistortPoints leave errors of many pixels where the image shrinks.
    source = cv2.undistortPointsIter(
        pixels.reshape(-1, 1, 2).astype(np.float64),
        camera.matrix,
        coefficients,
        np.eye(3),
        camera.matrix,
        _CONVERGED,
    )
    grid = source.reshape(height, width, 2).astype(np.float32)
    interpolation = cv2.INTER_LINEAR if image.ndim == 3 else cv2.INTER_NEAREST
    dtype = image.dtype
    values = image.astype(np.float32) if dtype == np.int32 else image
    return cv2.remap(values, grid[..., 0], grid[..., 1], interpolation).astype(dtype)


def _motion_kernel(length: float, angle: float) -> np.ndarray:
    """(9, 9) float32 kernel of a movement along a line."""
    size = int(_MAX_BLUR)
    # Anti-aliased lines need 8 bits.
    line = np.zeros((size, size), np.uint8)
    center = (size - 1) / 2
    offset = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    start, end = (center - offset), (center + offset)
    # Coordinates with 4 fractional bits.
    points = [tuple(np.round(p * 16).astype(int).tolist()) for p in (start, end)]
    cv2.line(line, *points, 255, 1, cv2.LINE_AA, 4)
    return line.astype(np.float32) / line.sum(dtype=np.float32)
