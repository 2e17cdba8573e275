# SPDX-License-Identifier: Apache-2.0
"""Examples from unlabeled videos.

The detections in a clean view are the pseudo-labels, with the detector's scores. The candidates
come from the same view after corruption, so that the model learns to see through corruptions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from mrmllm_ros.datasets.candidate_cache import (
    batches,
    compute_candidates,
    fuse_labels,
    half_precision,
)
from mrmllm_ros.datasets.data_errors import DataError, Skipped
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.datasets.targets import (
    match_targets,
    pseudo_labels,
    uncertain_objects,
    unreported,
)
from mrmllm_ros.datasets.views import CorruptedImage, View, generator
from mrmllm_ros.detection.colors import measure_colors
from mrmllm_ros.detection.detector import Detector, Perception
from mrmllm_ros.detection.images import ImageError, read_image
from mrmllm_ros.detection.playback import frames, image_files
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.visual_encoder import VisualEncoder

# With a higher threshold, uncertain objects would count as absent.
MAX_CANDIDATE_THRESHOLD = 0.15

_CORRUPTED_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class FrameSource:
    """Frames of a video, or images of a folder.

    Attributes:
        name: Name; part of the random seed.
        path: Video file or folder; see `playback.frames`.
        first: Index of the first frame, from 0.
        last: Index of the last frame, or None for the end.
        step: Use every `step`-th frame.
    """

    name: str
    path: Path
    first: int = 0
    last: int | None = None
    step: int = 1

    def read(self, skipped: Skipped | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Read the frames.

        Args:
            skipped: Collects unreadable images of a folder; other images keep their indices.

        Yields:
            Indices and (H, W, 3) uint8 arrays in BGR order.

        Raises:
            ImageError: If the source cannot be read.
        """
        skipped = skipped or Skipped("images")
        stop = None if self.last is None else self.last + 1
        if not os.path.isdir(self.path):
            yield from islice(enumerate(frames(self.path)), self.first, stop, self.step)
            return
        files = enumerate(image_files(self.path))
        for index, file in islice(files, self.first, stop, self.step):
            try:
                image = read_image(file)
            except ImageError as error:
                skipped.add(error)
                continue
            yield index, image


def frame_examples(
    sources: Iterable[FrameSource],
    detector: Detector,
    encoder: VisualEncoder | None = None,
    label_fusion: LabelFusion | None = None,
    views: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Example]:
    """Make examples without questions from frames; a fifth of them is not corrupted.

    The same arguments give the same examples. An unreadable image is skipped without a change to
    the examples of other images.

    Args:
        sources: Sources of the frames.
        detector: Detector of the pseudo-labels in clean images and the candidates in corrupted
            ones; its `candidate_threshold` must be at most `MAX_CANDIDATE_THRESHOLD`.
        encoder: Encoder of the tokens `V_m`, or None for examples without them.
        label_fusion: Corrects the labels of the candidates, which then are targets too, so that
            the head keeps them; None to keep the detector's, which are no targets.
        views: Number of examples of each frame.
        seed: Random seed.
        progress: Called with a line for each skipped image.

    Yields:
        Examples with features and tokens in half precision in main memory.

    Raises:
        ImageError: If a source cannot be read.
        DataError: If a source has no frames in its range, or more than half of its images are
            skipped.
    """
    for batch in batches(_corrupted_views(sources, views, seed, progress)):
        originals = [image.clean for image in batch]
        clean = detector.detect(originals)
        if label_fusion is not None:
            clean = label_fusion.fuse_images(originals, clean)
        corrupted = [image.corrupted for image in batch]
        examples = compute_candidates(corrupted, detector, encoder, label_fusion)
        for image, perception, example in zip(batch, clean, examples, strict=True):
            if label_fusion is None:
                yield _with_targets(example, image, perception)
            else:
                fused, _ = fuse_labels(example, label_fusion)
                yield _with_labels(_with_targets(fused, image, perception))


def _corrupted_views(
    sources: Iterable[FrameSource],
    views: int,
    seed: int,
    progress: Callable[[str], None] | None,
) -> Iterator[CorruptedImage]:
    for source in sources:
        skipped, count = Skipped(f"images of {source.path}", progress), 0
        for index, frame in source.read(skipped):
            count += 1
            for number in range(views):
                rng = generator(seed, source.name, index, number)
                clean = View.sample(frame.shape, rng).crop(frame)
                yield CorruptedImage.sample(clean, _CORRUPTED_SHARE, rng)
        skipped.close(count + skipped.count)
        if not count:
            last = "the end" if source.last is None else source.last
            raise DataError(
                f"{source.path} has no frames from {source.first} to {last}; change the range"
            )


def _with_targets(example: Example, image: CorruptedImage, clean: Perception) -> Example:
    truth = pseudo_labels(clean)
    targets = match_targets(
        example.perception.candidates,
        truth,
        measure_colors(image.clean, truth),
        uncertain=uncertain_objects(clean),
        novelty=image.novelty,
        # A few videos show few kinds of objects: the model would learn their labels for all.
        relabel=False,
    )
    # Objects that the corruption hides are present all the same.
    missed = unreported(clean.detections, example.perception.detections)
    return replace(half_precision(example), targets=targets, missed=missed)


def _with_labels(example: Example) -> Example:
    """Use the labels of the candidates as targets."""
    labels = example.perception.candidates.labels
    return replace(example, targets=replace(example.targets, labels=labels))
