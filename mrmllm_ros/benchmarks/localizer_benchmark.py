# SPDX-License-Identifier: Apache-2.0
"""Accuracy of the localizer on rendered scenes.

Every annotated object of a folder of rendered scenes is localized from its box or its mask, with
exact and with disturbed boxes and depth. The true position is the center of the box around the
visible points. A pose is within the tolerance if its center is off by at most 2 % of the distance
or 2 cm, and wrong if it is off by more than 5 % of the distance and 5 cm.

In sequences of a moving camera, objects do not move. The spread of an object is the root mean
square distance of its positions in the room from their mean. That of the truth is not zero,
because the visible side changes with the position of the camera.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.datasets.coco import CocoImage, read_coco
from mrmllm_ros.detection.boxes import clip_boxes
from mrmllm_ros.detection.masks import Mask
from mrmllm_ros.detection.rgbd_frames import ANNOTATIONS, RgbdFrame, rgbd_frame
from mrmllm_ros.localization.depth import DepthImage
from mrmllm_ros.localization.localizer import localize
from mrmllm_ros.localization.rotations import matrix_from_xyzw

# Maximum error of the center as a share of the distance, and in meters; the larger one counts.
_WITHIN = 0.02
_WRONG = 0.05
# Standard deviation at one meter; it grows with the square of the distance. That of the first
# Kinect (Khoshelham and Elberink, 2012).
_NOISE_M = 0.0014
_MISSING = 0.6
_PROGRESS = 50  # images


@dataclass(frozen=True)
class Condition:
    """Input of the localizer.

    Attributes:
        mask: Whether the mask is known.
        grown_px: Pixels that are added around the mask.
        missing: Share of the pixels without depth, at random.
        noise_m: Standard deviation of the depth at one meter.
        enlarged: Share of width and height that is added to each side of the box.
        side_noise: Standard deviation of each side, as a share of width or height.
    """

    mask: bool = False
    grown_px: int = 0
    missing: float = 0.0
    noise_m: float = 0.0
    enlarged: float = 0.0
    side_noise: float = 0.0


CONDITIONS = {
    "boxes": Condition(),
    "boxes, 60 % of depth missing": Condition(missing=_MISSING),
    "boxes, sensor noise": Condition(noise_m=_NOISE_M),
    "boxes, sides with 4 % noise": Condition(side_noise=0.04),
    "boxes, 8 % too small on each side": Condition(enlarged=-0.08),
    "boxes, 8 % too large on each side": Condition(enlarged=0.08),
    "masks": Condition(mask=True),
    "masks, 60 % of depth missing": Condition(mask=True, missing=_MISSING),
    "masks, sensor noise": Condition(mask=True, noise_m=_NOISE_M),
    "masks, 2 pixels too large": Condition(mask=True, grown_px=2),
}
# Conditions that are also reported by group and for sequences.
DETAILED = ("boxes", "masks")


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneObject:
    """Annotated object.

    Attributes:
        xyxy: (4,) left, top, right, bottom of the visible pixels.
        mask: (H, W) bool, visible pixels.
        center: (3,) center of the box around the visible points in the optical frame, in meters.
        occlusion: Share of the object that others hide, 0 to 1.
        truncation: Share of the object outside the image, 0 to 1.
        instance: Number of the object in its scene; None if it is unknown.
    """

    xyxy: np.ndarray
    mask: np.ndarray
    center: np.ndarray
    occlusion: float
    truncation: float
    instance: int | None

    @property
    def distance_m(self) -> float:
        """Distance from the camera in meters."""
        return float(np.linalg.norm(self.center))


GROUPS: Mapping[str, Callable[[SceneObject], bool]] = {
    "occlusion below 0.1": lambda item: item.occlusion < 0.1,
    "occlusion 0.1 to 0.5": lambda item: 0.1 <= item.occlusion <= 0.5,
    "occlusion above 0.5": lambda item: item.occlusion > 0.5,
    "across the border of the image": lambda item: item.truncation > 0,
    "nearer than 1.5 m": lambda item: item.distance_m < 1.5,
    "1.5 m to 3 m": lambda item: 1.5 <= item.distance_m < 3,
    "3 m and farther": lambda item: item.distance_m >= 3,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """Image with its annotated objects.

    Attributes:
        frame: Files, calibration and pose of the camera.
        objects: Objects with a known position.
        sequence: Number of its sequence of a moving camera; None for a single image.
    """

    frame: RgbdFrame
    objects: Sequence[SceneObject]
    sequence: int | None


@dataclass(frozen=True, eq=False)
class _Located:
    """Center (3,) that was found for an object in meters; None without a pose."""

    scene: Scene
    item: SceneObject
    center: np.ndarray | None

    @property
    def error(self) -> float:
        """Error of the center as a share of the distance; of one meter for nearer objects."""
        if self.center is None:
            return np.inf
        error_m = np.linalg.norm(self.center - self.item.center)
        return float(error_m / max(self.item.distance_m, 1.0))


def run(folder: Path, progress: Callable[[str], None] = print) -> dict[str, Any]:
    """Localize the objects of a folder.

    Args:
        folder: Folder of rendered scenes.
        progress: Called with a line of text at each step.

    Raises:
        MrmllmError: If the annotations or an image cannot be read, or no object has a position.
    """
    scenes = read_scenes(folder, progress)
    located: dict[str, list[_Located]] = {name: [] for name in CONDITIONS}
    for number, scene in enumerate(scenes):
        if number % _PROGRESS == 0:
            progress(f"image {number + 1} of {len(scenes)}")
        depth_m = scene.frame.read_depth_mm().astype(np.float32) / 1000
        for name, condition in CONDITIONS.items():
            # One seed for each image: conditions with the same disturbance share it.
            rng = np.random.default_rng(number)
            located[name] += _locate(scene, depth_m, condition, rng)
    figures: dict[str, Any] = {
        "images": len(scenes),
        "objects": sum(len(scene.objects) for scene in scenes),
        "accuracy": _accuracy(located),
    }
    if spreads := _spreads({name: located[name] for name in DETAILED}):
        figures["spread_in_sequences"] = spreads
    return figures


def read_scenes(folder: Path, progress: Callable[[str], None] | None = None) -> list[Scene]:
    """Read the annotations of a folder, and no image.

    Args:
        folder: Folder of rendered scenes.
        progress: Called with a line for each skipped entry.

    Raises:
        MrmllmError: If the annotations cannot be read, or no object has a position.
    """
    file = folder / ANNOTATIONS
    scenes: list[Scene] = []
    sequence, last_s = -1, np.inf
    for image in read_coco(folder, file, progress).images:
        frame = rgbd_frame(folder, image.entry, f"{file}: {image.name}")
        if frame.stamp_s is not None:
            # A step back begins the next sequence.
            sequence += frame.stamp_s <= last_s
            last_s = frame.stamp_s
        objects = list(_objects(image, f"{file}: {image.name}"))
        number = None if frame.stamp_s is None else sequence
        scenes.append(Scene(frame=frame, objects=objects, sequence=number))
    if not any(scene.objects for scene in scenes):
        raise BenchmarkError(
            f"no annotation of {file} has visible_3d; render the folder again (mrmllm scenes "
            "render)"
        )
    return scenes


def _objects(image: CocoImage, where: str) -> Iterator[SceneObject]:
    """Objects with a known position; neither crowds nor objects to ignore."""
    for xyxy, entry in zip(image.objects.xyxy, image.annotations, strict=True):
        if entry.get("iscrowd") or entry.get("ignore") or not entry.get("visible_3d"):
            continue
        try:
            yield SceneObject(
                xyxy=xyxy.astype(float),
                mask=_mask(entry["segmentation"]["counts"], image.objects.resolution_wh),
                center=np.array(entry["visible_3d"]["center"], float).reshape(3),
                occlusion=float(entry.get("occlusion", 0)),
                truncation=float(entry.get("truncation", 0)),
                instance=entry.get("instance"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BenchmarkError(
                f"{where}: annotation {entry.get('id')} has no valid segmentation or visible_3d "
                f"({error!r}); render the folder again (mrmllm scenes render)"
            ) from error


def _mask(counts: Sequence[int], resolution_wh: tuple[int, int]) -> np.ndarray:
    """(H, W) bool mask of COCO's run lengths, which go column by column."""
    transposed_wh = resolution_wh[::-1]
    return Mask.from_run_lengths(counts, (0, 0), transposed_wh, transposed_wh).inside.T


def _locate(
    scene: Scene, depth_m: np.ndarray, condition: Condition, rng: np.random.Generator
) -> list[_Located]:
    matrix, resolution_wh = scene.frame.camera_matrix, scene.frame.resolution_wh
    disturbed = depth_m + rng.normal(size=depth_m.shape) * condition.noise_m * depth_m**2
    disturbed[rng.random(depth_m.shape) < condition.missing] = 0
    depths = DepthImage(disturbed.astype(np.float32), matrix, matrix)
    located = []
    for item in scene.objects:
        shares = condition.enlarged + condition.side_noise * rng.normal(size=4)
        outward = shares * np.tile(item.xyxy[2:] - item.xyxy[:2], 2) * (-1, -1, 1, 1)
        xyxy = clip_boxes(item.xyxy + outward, resolution_wh)
        mask = _grown(item.mask, condition.grown_px) if condition.mask else None
        location = localize(depths, matrix, xyxy, mask, resolution_wh=resolution_wh)
        located.append(_Located(scene, item, None if location is None else location.center))
    return located


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    kernel = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def _accuracy(located: Mapping[str, Sequence[_Located]]) -> dict[str, dict[str, int]]:
    """Counts by condition, and by group for `DETAILED`; groups without objects are left out."""
    counts = {}
    for name, all_located in located.items():
        counts[name] = _counts(all_located)
        for group, belongs in GROUPS.items() if name in DETAILED else ():
            members = [each for each in all_located if belongs(each.item)]
            if members:
                counts[f"{name}, {group}"] = _counts(members)
    return counts


def _counts(located: Sequence[_Located]) -> dict[str, int]:
    errors = np.array([each.error for each in located])
    no_pose = np.isinf(errors)
    return {
        "objects": len(errors),
        "poses": int(np.count_nonzero(~no_pose)),
        "within_2_percent": int(np.count_nonzero(errors <= _WITHIN)),
        "wrong": int(np.count_nonzero((errors > _WRONG) & ~no_pose)),
        "no_pose": int(np.count_nonzero(no_pose)),
    }


def _spreads(located: Mapping[str, Sequence[_Located]]) -> dict[str, dict[str, float]]:
    """Spread of the positions of objects in the room, for the truth and each condition.

    Only objects that occur in several frames of a sequence are counted; empty if there are none.
    """
    any_located = next(iter(located.values()))
    rows = {"truth": [(each, each.item.center) for each in any_located]}
    rows |= {name: [(x, x.center) for x in found] for name, found in located.items()}
    spreads = {}
    for name, pairs in rows.items():
        spreads_m = [_spread_m(points) for points in _tracks(pairs) if len(points) > 1]
        if spreads_m:
            spreads[name] = {
                "objects": len(spreads_m),
                "median_m": round(float(np.median(spreads_m)), 4),
                "90th_percentile_m": round(float(np.percentile(spreads_m, 90)), 4),
            }
    return spreads


def _tracks(pairs: Iterable[tuple[_Located, np.ndarray | None]]) -> Iterable[list[np.ndarray]]:
    """Positions (3,) in the room of each object of a sequence."""
    tracks: dict[tuple[int, int], list[np.ndarray]] = defaultdict(list)
    for located, center in pairs:
        sequence, pose = located.scene.sequence, located.scene.frame.pose
        instance = located.item.instance
        if None in (sequence, instance) or pose is None or center is None:
            continue
        tracks[sequence, instance].append(matrix_from_xyzw(pose.xyzw) @ center + pose.position)
    return tracks.values()


def _spread_m(points: Sequence[np.ndarray]) -> float:
    offsets = np.array(points) - np.mean(points, axis=0)
    return float(np.sqrt((offsets**2).sum(1).mean()))
