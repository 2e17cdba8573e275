# SPDX-License-Identifier: Apache-2.0
"""Views of labeled images with the annotations of their objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrmllm_ros.datasets.coco import CocoImage
from mrmllm_ros.datasets.views import View, generator
from mrmllm_ros.detection.boxes import box_areas, clip_boxes
from mrmllm_ros.detection.colors import COLORS
from mrmllm_ros.detection.detections import Detections

# Minimum visible share of an object's area; the detector may or may not find what is cut more.
_MIN_VISIBLE = 0.5
# Objects that image or view cut by more than this share are not in full view, although nothing may
# hide them: their occlusion counts as known only from a value on.
_MAX_CUT, _MIN_OCCLUSION_OF_CUT = 0.05, 0.4


@dataclass(frozen=True, eq=False, kw_only=True)
class LabeledView:
    """View of an image with its annotations.

    Attributes:
        number: Number of the view among those of the image.
        view: The view.
        rng: Source of randomness for the corruption of the view.
        truth: M objects of which the view shows half or more.
        annotations: M entries of these objects in the annotations file.
        visible: (M,) share of each object's box that the view shows.
        partial: Objects of which it shows less, and objects with `ignore`.
        crowds: Regions with any number of objects.
    """

    number: int
    view: View
    rng: np.random.Generator
    truth: Detections
    annotations: tuple[Mapping[str, Any], ...]
    visible: np.ndarray
    partial: Detections
    crowds: Detections

    @property
    def colors(self) -> tuple[str, ...]:
        """M annotated colors of the true objects; empty if there is none."""
        return tuple(
            color if (color := each.get("color")) in COLORS else "" for each in self.annotations
        )

    @property
    def distances_m(self) -> np.ndarray:
        """(M,) annotated distances of the true objects in meters; NaN if there is none."""
        return self._numbers("distance")

    @property
    def occlusion(self) -> np.ndarray:
        """(M,) annotated occlusion of the true objects; NaN if unknown or low for cut objects."""
        occlusion = self._numbers("occlusion")
        is_cut = np.fmax(self._numbers("truncation"), 1 - self.visible) > _MAX_CUT
        return np.where(is_cut & (occlusion < _MIN_OCCLUSION_OF_CUT), np.nan, occlusion)

    def _numbers(self, name: str) -> np.ndarray:
        values = [each.get(name) for each in self.annotations]
        is_number = [isinstance(x, (int, float)) and np.isfinite(x) and x >= 0 for x in values]
        return np.array(
            [x if valid else np.nan for x, valid in zip(values, is_number, strict=True)], float
        )


def labeled_views(item: CocoImage, count: int, seed: int) -> Iterator[LabeledView]:
    """Sample views of an image; the same for the same arguments.

    Args:
        item: The image.
        count: Number of views.
        seed: Random seed.
    """
    width, height = item.objects.resolution_wh
    for number in range(count):
        rng = generator(seed, item.name, number)
        view = View.sample((height, width), rng)
        objects, visible, kept = _in_view(item.objects, view)
        annotations = [item.annotations[i] for i in kept]
        crowd = item.crowd[kept]
        ignored = np.array([bool(each.get("ignore")) for each in annotations], bool)
        is_true = ~crowd & ~ignored & (visible >= _MIN_VISIBLE)
        yield LabeledView(
            number=number,
            view=view,
            rng=rng,
            truth=objects.take(np.flatnonzero(is_true)),
            annotations=tuple(annotations[i] for i in np.flatnonzero(is_true)),
            visible=visible[is_true],
            partial=objects.take(np.flatnonzero(~crowd & ~is_true)),
            crowds=objects.take(np.flatnonzero(crowd)),
        )


def _in_view(objects: Detections, view: View) -> tuple[Detections, np.ndarray, np.ndarray]:
    """Objects in a view, clipped to it, their visible shares and their indices."""
    xyxy = view.transform_boxes(objects.xyxy)
    clipped = clip_boxes(xyxy, view.resolution_wh)
    shown = Detections(clipped, objects.scores, objects.labels, view.resolution_wh)
    visible = shown.areas / box_areas(xyxy).clip(1e-9)
    inside = np.flatnonzero(visible > 0)
    return shown.take(inside), visible[inside], inside
