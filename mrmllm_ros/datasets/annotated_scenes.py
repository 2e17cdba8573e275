# SPDX-License-Identifier: Apache-2.0
"""Scenes for questions from complete annotations, as rendered images have them.

Such annotations state the occlusion of objects. They name every object of the categories, so that
questions are about the true objects, and not about what the detector reports. The list of objects
in the prompt stays that of the detector: a true object can be cited if the detector reports its
box, under any label. Answers about a doubtful object follow from its label in the prompt, right or
wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mrmllm_ros.datasets.coco import CocoDataset
from mrmllm_ros.datasets.labeled_views import LabeledView
from mrmllm_ros.datasets.questions.scene import Annotation, Scene, UnlistedObject
from mrmllm_ros.datasets.targets import match_objects
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception


def is_complete(dataset: CocoDataset) -> bool:
    """Whether annotations state the occlusion of objects, as those of rendered images do."""
    return any("occlusion" in entry for image in dataset.images for entry in image.annotations)


def with_distances(perception: Perception, view: LabeledView, depths_m: np.ndarray) -> Perception:
    """Add distances to candidates, as a depth camera would give them.

    Args:
        perception: K candidates in the view.
        view: The view; the annotated distance of a true object replaces the measured one.
        depths_m: (K,) measured depth of each candidate in meters, NaN if unknown.
    """
    candidates = perception.candidates
    meters, known = np.float32(depths_m), view.distances_m
    for candidate, true in match_objects(candidates, view.truth):
        if not np.isnan(known[true]):
            meters[candidate] = known[true]
    return replace(perception, candidates=replace(candidates, distances_m=meters))


def annotated_scene(
    perception: Perception, colors: Sequence[str], view: LabeledView, place: str
) -> Scene:
    """Create the scene of a view for questions.

    Args:
        perception: N reported objects, with the distances that the prompt states, then others.
        colors: Colors of at least the N objects as the prompt states them; empty if unknown. An
            annotated color of a true object replaces them.
        view: The view with its true objects.
        place: Kind of room; empty if unknown.
    """
    listed = perception.detections
    matched = dict(match_objects(listed, view.truth))
    count, annotated, of_truth = len(listed), view.colors, view.occlusion
    labels, occlusion, known = [""] * count, np.full(count, np.nan), list(colors[:count])
    for i, true in matched.items():
        labels[i] = view.truth.labels[true]
        occlusion[i] = of_truth[true]
        known[i] = annotated[true] or colors[i]
    scene = Scene.of_perception(perception, [{"color": color} if color else {} for color in known])
    named = perception.candidates.take(np.array([i - 1 for i in scene.doubtful], np.int64))
    wrong = (listed.labels[i] for i in range(count) if i not in matched)
    return replace(
        scene,
        labels=tuple(labels),
        annotation=Annotation(
            occlusion=occlusion,
            unlisted=_unlisted(view, {*matched.values()}, named),
            wrong=tuple(dict.fromkeys(wrong)),
            place=place,
        ),
    )


def _unlisted(
    view: LabeledView, listed: set[int], named: Detections
) -> tuple[UnlistedObject, ...]:
    """True objects of a view beside those with the indices `listed`.

    Args:
        view: The view.
        listed: Indices of true objects that the prompt lists.
        named: Doubtful objects that the prompt names.
    """
    boxes = view.truth.xyxy / np.tile(view.truth.resolution_wh, 2)
    meters = view.distances_m if named.distances_m is not None else np.full(len(boxes), np.nan)
    doubtful = {true for _, true in match_objects(named, view.truth, relabel=False)}
    return tuple(
        UnlistedObject(
            label=label, box=boxes[i], meters=float(meters[i]), is_doubtful=i in doubtful
        )
        for i, label in enumerate(view.truth.labels)
        if i not in listed
    )
