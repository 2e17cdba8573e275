# SPDX-License-Identifier: Apache-2.0
"""Scenes of photographic cut-outs pasted into photographs, with exact masks.

A scene has one backdrop and a few cut-outs, pasted from back to front. Size, brightness and
sharpness of a cut-out are adapted to the scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.datasets.rendered.cutout_material import Backdrop, BackdropKind, Cutout, Material
from mrmllm_ros.detection.images import decode_pixels, read_image

MAX_OBJECTS = 8

_REPEATED = 0.3  # probability of another cut-out of a noun that the scene already has
_MAX_PICTURE = 1280  # pixels; larger images are reduced when they are read
_MAX_TRIES = 6
_MAX_HIDDEN, _MAX_TRUNCATION = 0.9, 0.6
# The longest side of a cut-out of 1 m, as a share of the image height, closest to the camera. The
# exponent moderates differences of size, so that a frog and an elephant are both recognizable.
_NEAR_SHARE, _SIZE_EXPONENT, _MAX_SHARE = 0.36, 0.4, 0.8
_FARTHEST = 0.35  # apparent size at the ground line, relative to the closest one
_MIN_SIDE = 26  # pixels
_MAX_ENLARGEMENT = 1.5
# Shares of the difference in brightness and in color between a cut-out and its surroundings that
# are removed.
_MATCHED_BRIGHTNESS, _MATCHED_COLOR = 0.3, 0.1


@dataclass(frozen=True, eq=False, kw_only=True)
class PastedObject:
    """Cut-out in a scene.

    Attributes:
        noun: Noun of the object.
        family: Family of the cut-out.
        model: Asset and name of the cut-out.
        visible: (H, W) bool; pixels that no other object covers.
        whole: (H, W) bool; all pixels of the object within the image.
        truncation: Share of the object's pixels outside the image.
    """

    noun: str
    family: str
    model: str
    visible: np.ndarray
    whole: np.ndarray
    truncation: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Composition:
    """Composed scene.

    Attributes:
        image: (H, W, 3) uint8 in BGR order.
        objects: Pasted objects from back to front.
        backdrop: The photograph; objects of the nouns in its `shows` have no mask.
    """

    image: np.ndarray
    objects: tuple[PastedObject, ...]
    backdrop: Backdrop


def compose(
    material: Material, rng: np.random.Generator, resolution_wh: tuple[int, int] = (640, 480)
) -> Composition:
    """Compose a scene; the same for the same material and state of the generator.

    Args:
        material: Cut-outs and backdrops.
        rng: Source of randomness.
        resolution_wh: Width and height of the image, in pixels.

    Returns:
        At most `MAX_OBJECTS` objects.

    Raises:
        ImageError: If a photograph cannot be read.
        DataError: If no cut-out suits a backdrop.
    """
    fitting = [material.fitting(backdrop) for backdrop in material.backdrops]
    if not any(fitting):
        raise DataError("the material has no backdrop with a cut-out that suits it")
    # A backdrop for few nouns is rarer, so that these are not more frequent than others.
    weights = np.array([len(nouns) for nouns in fitting])
    index = int(rng.choice(len(weights), p=weights / weights.sum()))
    backdrop = material.backdrops[index]
    canvas = _Canvas.of(backdrop, rng, resolution_wh)
    for cutout, depth in _sample_cutouts(fitting[index], rng):
        canvas.add(cutout, depth, rng)
    return Composition(
        image=_photograph(canvas.image, rng), objects=tuple(canvas.objects), backdrop=backdrop
    )


def _sample_cutouts(
    nouns: Mapping[str, Mapping[str, list[Cutout]]], rng: np.random.Generator
) -> list[tuple[Cutout, float]]:
    """Sample cut-outs with their depths from back, 0, to front, 1."""
    chosen: list[str] = []
    for _ in range(int(rng.integers(1, MAX_OBJECTS + 1))):
        repeated = chosen and rng.random() < _REPEATED
        chosen.append(_choose(chosen if repeated else list(nouns), rng))
    cutouts = [_choose(_choose(list(nouns[noun].values()), rng), rng) for noun in chosen]
    return list(zip(cutouts, np.sort(rng.random(len(cutouts))).tolist(), strict=True))


@dataclass(eq=False, kw_only=True)
class _Canvas:
    """Scene in progress.

    Attributes:
        image: (H, W, 3) float32, 0 to 255, in BGR order.
        kind: Kind of the backdrop.
        ground: Row of the ground line in pixels; None without ground.
        objects: Pasted objects from back to front.
    """

    image: np.ndarray
    kind: BackdropKind
    ground: float | None
    objects: list[PastedObject]

    @classmethod
    def of(
        cls, backdrop: Backdrop, rng: np.random.Generator, resolution_wh: tuple[int, int]
    ) -> _Canvas:
        """Crop a random part of a backdrop that contains its ground line."""
        picture = _read_backdrop(backdrop.path)
        height, width = picture.shape[:2]
        aspect = resolution_wh[0] / resolution_wh[1]
        tall = min(height, width / aspect) * rng.uniform(0.6, 1.0)
        wide = tall * aspect
        top, left = rng.uniform(0, height - tall), rng.uniform(0, width - wide)
        ground = None
        if backdrop.ground is not None:
            row = backdrop.ground * height
            # The ground line is at 30 to 85 % of the crop, as far as the photograph allows it.
            top = float(np.clip(row - tall * rng.uniform(0.3, 0.85), 0, height - tall))
            ground = (row - top) / tall * resolution_wh[1]
        crop = picture[round(top) : round(top + tall), round(left) : round(left + wide)]
        if rng.random() < 0.5:
            crop = cv2.flip(crop, 1)
        image = cv2.resize(crop, resolution_wh, interpolation=cv2.INTER_AREA)
        return cls(image=image.astype(np.float32), kind=backdrop.kind, ground=ground, objects=[])

    def add(self, cutout: Cutout, depth: float, rng: np.random.Generator) -> None:
        """Paste a cut-out where it hides no other one; omit it if there is no such place."""
        sprite = self._sprite(cutout, depth, rng)
        for _ in range(_MAX_TRIES):
            corner = self._corner(sprite, cutout, depth, rng)
            if self._fits(sprite, corner):
                self._paste(sprite, corner, cutout, rng)
                return

    def _sprite(self, cutout: Cutout, depth: float, rng: np.random.Generator) -> np.ndarray:
        """(h, w, 4) float32 picture in the scale of the scene, colors multiplied by alpha."""
        picture = _read_cutout(cutout.path)
        native = max(picture.shape[:2])
        side = np.clip(self._side(cutout, depth, rng), _MIN_SIDE, native * _MAX_ENLARGEMENT)
        degrees = rng.normal(0, 2.5 if self.ground is not None else 20)
        if cutout.mirror and rng.random() < 0.5:
            picture = np.ascontiguousarray(picture[:, ::-1])
        sprite = _rotate(_scale(picture, side / native), degrees)
        sprite = _trim(cv2.GaussianBlur(sprite, (0, 0), rng.uniform(0.4, 0.9)))
        if self.kind == "water" and not cutout.flies:
            sprite = sprite[: round(len(sprite) * rng.uniform(0.7, 0.9))]  # the rest is submerged
        return sprite

    def _side(self, cutout: Cutout, depth: float, rng: np.random.Generator) -> float:
        """Sample the longest side in pixels."""
        height = self.image.shape[0]
        if self.ground is None:
            share = rng.uniform(0.14, 0.4) * (cutout.size / 0.2) ** (_SIZE_EXPONENT / 2)
        elif cutout.flies:
            share = min(_NEAR_SHARE * cutout.size**_SIZE_EXPONENT, 0.5) * rng.uniform(0.3, 1.0)
        else:
            near = _NEAR_SHARE * cutout.size**_SIZE_EXPONENT * rng.uniform(0.85, 1.2)
            share = near * (_FARTHEST + (1 - _FARTHEST) * depth)
        return height * min(share, _MAX_SHARE)

    def _corner(
        self, sprite: np.ndarray, cutout: Cutout, depth: float, rng: np.random.Generator
    ) -> tuple[int, int]:
        """Sample the left and top edge of a sprite, in pixels."""
        height, width = self.image.shape[:2]
        tall, wide = sprite.shape[:2]
        left = rng.uniform(-0.3 * wide, width - 0.7 * wide)
        if self.ground is None:
            top = rng.uniform(-0.3 * tall, height - 0.7 * tall)
        elif cutout.flies:
            top = rng.uniform(-0.3 * tall, max(self.ground - tall, 0))
        else:
            top = self.ground + depth * (1.04 * height - self.ground) - tall
        return round(left), round(top)

    def _fits(self, sprite: np.ndarray, corner: tuple[int, int]) -> bool:
        whole = self._mask(sprite, corner)
        if not whole.any() or _truncation(sprite, whole) > _MAX_TRUNCATION:
            return False
        return all(
            (other.visible & ~whole).sum() >= (1 - _MAX_HIDDEN) * other.whole.sum()
            for other in self.objects
        )

    def _paste(
        self,
        sprite: np.ndarray,
        corner: tuple[int, int],
        cutout: Cutout,
        rng: np.random.Generator,
    ) -> None:
        whole = self._mask(sprite, corner)
        adapted = _adapt(sprite, self.image[whole], rng)
        if self.ground is None:
            self._blend(*_cast_shadow(adapted, corner))
        elif self.kind == "land" and not cutout.flies:
            self._blend(*_ground_shadow(adapted, corner))
        self._blend(adapted, corner)
        truncation = _truncation(sprite, whole)
        self.objects = [replace(other, visible=other.visible & ~whole) for other in self.objects]
        self.objects.append(
            PastedObject(
                noun=cutout.noun,
                family=cutout.family,
                model=cutout.model,
                visible=whole,
                whole=whole,
                truncation=truncation,
            )
        )

    def _mask(self, sprite: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
        """(H, W) bool pixels of a sprite within the image."""
        mask = np.zeros(self.image.shape[:2], bool)
        inside, part = _overlap(mask.shape, sprite.shape, corner)
        mask[inside] = sprite[part][..., 3] > 0.5
        return mask

    def _blend(self, layer: np.ndarray, corner: tuple[int, int]) -> None:
        inside, part = _overlap(self.image.shape, layer.shape, corner)
        color, alpha = np.split(layer[part], [3], axis=2)
        self.image[inside] = self.image[inside] * (1 - alpha) + color


def _overlap(
    canvas: tuple[int, ...], layer: tuple[int, ...], corner: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Common part of a canvas and a layer, in rows and columns of each."""
    inside, part = [], []
    for room, extent, start in zip(canvas[:2], layer[:2], corner[::-1], strict=True):
        first, last = np.clip([start, start + extent], 0, room).tolist()
        inside.append(slice(first, last))
        part.append(slice(first - start, last - start))
    return (inside[0], inside[1]), (part[0], part[1])


def _truncation(sprite: np.ndarray, whole: np.ndarray) -> float:
    return 1 - float(whole.sum() / (sprite[..., 3] > 0.5).sum())


def _adapt(sprite: np.ndarray, surroundings: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bring brightness, color and contrast of a sprite closer to its surroundings.

    Args:
        sprite: (h, w, 4) float32, colors multiplied by alpha.
        surroundings: (N, 3) float32 pixels of the scene.
        rng: Source of randomness.
    """
    color, alpha = np.split(sprite, [3], axis=2)
    mean = color.sum((0, 1)) / alpha.sum()
    difference = surroundings.mean(0) - mean
    brightness = difference.mean()
    shift = _MATCHED_BRIGHTNESS * brightness + _MATCHED_COLOR * (difference - brightness)
    shift = shift.clip(-60, 10) + rng.normal(0, 6)
    contrast = rng.uniform(0.88, 1.08) * (1 + min(shift.mean(), 0) / 160)
    changed = (color - mean * alpha) * contrast + (mean + shift) * alpha
    return np.dstack([changed.clip(0, 255 * alpha), alpha]).astype(np.float32)


def _ground_shadow(
    sprite: np.ndarray, corner: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Soft ellipse under an object that stands, and its corner."""
    tall, wide = sprite.shape[:2]
    flat = max(3, round(0.07 * wide))
    shadow = np.zeros((6 * flat, wide + 4 * flat), np.float32)
    center = (shadow.shape[1] // 2, shadow.shape[0] // 2)
    cv2.ellipse(shadow, center, (round(0.45 * wide), flat), 0, 0, 360, 0.5, cv2.FILLED)
    shadow = cv2.GaussianBlur(shadow, (0, 0), 0.6 * flat)
    return _black(shadow), (corner[0] - 2 * flat, corner[1] + tall - 3 * flat - flat // 2)


def _cast_shadow(
    sprite: np.ndarray, corner: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Soft shadow on a surface behind an object, and its corner."""
    offset = max(2, round(0.03 * max(sprite.shape[:2])))
    padded = cv2.copyMakeBorder(sprite[..., 3], *[3 * offset] * 4, cv2.BORDER_CONSTANT)
    shadow = cv2.GaussianBlur(padded, (0, 0), 1.2 * offset) * 0.5
    return _black(shadow), (corner[0] - 2 * offset, corner[1] - 2 * offset)


def _black(alpha: np.ndarray) -> np.ndarray:
    """Black layer with an alpha of (h, w)."""
    return np.dstack([np.zeros((*alpha.shape, 3), np.float32), alpha])


def _photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure and noise of one camera for the whole scene; (H, W, 3) uint8."""
    gain = rng.uniform(0.85, 1.12)
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(0.5, 3.5)
    return np.rint(image * gain + noise).clip(0, 255).astype(np.uint8)


def _scale(picture: np.ndarray, factor: float) -> np.ndarray:
    size = [max(1, round(side * factor)) for side in picture.shape[1::-1]]
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(picture, size, interpolation=method)


def _rotate(picture: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate a picture within a border that is large enough for each angle."""
    tall, wide = picture.shape[:2]
    side = int(np.ceil(np.hypot(tall, wide))) + 4
    turn = cv2.getRotationMatrix2D(((wide - 1) / 2, (tall - 1) / 2), degrees, 1.0)
    turn[:, 2] += (side - wide) / 2, (side - tall) / 2
    return cv2.warpAffine(picture, turn, (side, side), flags=cv2.INTER_LINEAR)


def _trim(sprite: np.ndarray) -> np.ndarray:
    """Remove transparent edges."""
    left, top, wide, tall = cv2.boundingRect((sprite[..., 3] > 0.02).astype(np.uint8))
    return sprite[top : top + tall, left : left + wide]


@lru_cache(maxsize=64)
def _read_backdrop(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 in BGR order."""
    return _reduced(read_image(path))


@lru_cache(maxsize=512)
def _read_cutout(path: Path) -> np.ndarray:
    """(h, w, 4) float32 with an alpha of 0 to 1 and colors of 0 to 255 multiplied by it."""
    picture = decode_pixels(path.read_bytes())
    if picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype != np.uint8:
        raise DataError(f"{path} is not an image with 8 bits per channel and transparency")
    alpha = picture[..., 3:].astype(np.float32) / 255
    return _trim(_reduced(np.dstack([picture[..., :3] * alpha, alpha])))


def _reduced(picture: np.ndarray) -> np.ndarray:
    factor = _MAX_PICTURE / max(picture.shape[:2])
    return _scale(picture, factor) if factor < 1 else picture


def _choose(items: Any, rng: np.random.Generator) -> Any:
    return items[int(rng.integers(len(items)))]
