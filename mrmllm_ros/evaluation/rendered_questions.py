# SPDX-License-Identifier: Apache-2.0
"""Questions about rendered scenes, with answers from the exact truth.

The truth lists all objects of a scene, also those that the detector misses: a question about a
missed object stays, and counts as any other. Citations are scored with the ids of the listed
objects that match the true ones; no citation of a missed object is right.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from mrmllm_ros.datasets.example import QuestionAnswer, Truth
from mrmllm_ros.datasets.questions.question_sampler import ask
from mrmllm_ros.datasets.questions.scene import Annotation, Scene, UnlistedObject
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.evaluation.label_accuracy import best_matches
from mrmllm_ros.evaluation.rendered_scenes import RenderedImage, RenderedScenes

QUESTIONS = 8  # maximum number for an image
# Images state no distances in meters.
_EXCLUDED = frozenset({"distance"})
# Share of questions about the kind of room. They are sampled first, and half of all questions are
# left out, so that their share doubles.
_PLACE_SHARE = 0.05
_SEED = 20250311


def rendered_questions(
    scenes: RenderedScenes, answerable: Collection[str] = (), count: int = QUESTIONS
) -> list[tuple[QuestionAnswer, ...]]:
    """Sample questions about each image; the same for the same scenes.

    Args:
        scenes: The scenes.
        answerable: Labels that answers may name beside those of the scenes.
        count: Maximum number of questions about an image.

    Returns:
        Questions of each image. Their ids are those of `RenderedImage.listed`.
    """
    words = frozenset(answerable).union(scenes.labels)
    sampled = []
    for number, image in enumerate(scenes.images):
        rng = np.random.default_rng((_SEED, number))
        scene = _scene(image)
        shares = {"place": _PLACE_SHARE}
        # Twice as many, since some are left out.
        asked = ask(scene, rng, 2 * count, "evaluation", scenes.labels, shares=shares)
        chosen = [item for item in asked if item.family not in _EXCLUDED][:count]
        sampled.append(tuple(_among_all(item, scene, words) for item in chosen))
    return sampled


def _scene(image: RenderedImage) -> Scene:
    """Scene that lists the objects that must be found."""
    counted = image.truth.counted
    hidden = image.truth.objects.take(np.flatnonzero(~counted))
    boxes = hidden.xyxy / np.tile(hidden.resolution_wh, 2)
    return replace(
        Scene.of(image.listed, image.colors),
        annotation=Annotation(
            occlusion=image.occlusions[counted],
            unlisted=tuple(
                UnlistedObject(label=label, box=box, meters=float(meters))
                for label, box, meters in zip(
                    hidden.labels, boxes, hidden.distances_m, strict=True
                )
            ),
            place=image.place,
        ),
    )


def with_listed_ids(
    questions: Sequence[QuestionAnswer], image: RenderedImage, listed: Detections
) -> tuple[QuestionAnswer, ...]:
    """Replace the ids of true objects by those of the listed objects that match them.

    Args:
        questions: Questions from `rendered_questions`.
        image: Their image.
        listed: Objects that the prompt lists.
    """
    matches = best_matches(image.listed, listed)
    # An answer cannot cite a negative id.
    ids = {true: int(match) + 1 if match >= 0 else -true for true, match in enumerate(matches, 1)}
    return tuple(replace(item, truth=_renumbered(item.truth, ids)) for item in questions)


def _renumbered(truth: Truth, ids: dict[int, int]) -> Truth:
    cited = truth.cited and frozenset(ids[i] for i in truth.cited)
    pairs = truth.pairs and frozenset((ids[i], word) for i, word in truth.pairs)
    return replace(truth, cited=cited, pairs=pairs)


def _among_all(item: QuestionAnswer, scene: Scene, words: frozenset[str]) -> QuestionAnswer:
    """Let answers choose from all labels where they choose from those of the scene.

    Otherwise, to name an object that is not in the scene would not be wrong.
    """
    if item.truth.among != frozenset(scene.labels):
        return item
    return replace(item, truth=replace(item.truth, among=item.truth.among | words))
