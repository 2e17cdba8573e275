# SPDX-License-Identifier: Apache-2.0
"""Examples from real videos that nobody has labeled.

What the detector finds in a clean image is taken for the truth, as surely as the detector itself
is of it: where nothing is damaged there is nothing to learn but to believe it. The model is given
what it finds in the same image once that is damaged, and learns to see through the damage.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from mrmllm_ros.datasets.candidate_cache import batches, compute_candidates, half_precision
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
from mrmllm_ros.model.visual_encoder import VisualEncoder

# What a detector half believes must be among its candidates, or it counts as absent.
MAX_CANDIDATE_THRESHOLD = 0.15

_DAMAGED_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class FrameSource:
    """Frames of a video, or images of a folder.

    Attributes:
        name: Tells its random choices from those of other sources.
        path: What `playback.frames` reads.
        first: Index of the first frame, from 0.
        last: Index behind which no frame is taken, or None for all.
        step: Every how many frames one is taken.
    """

    name: str
    path: Path
    first: int = 0
    last: int | None = None
    step: int = 1

    def read(self, skipped: Skipped | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Read the frames.

        Args:
            skipped: Gets the images of a folder that cannot be read; they keep their indices.

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
    views: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Example]:
    """Make examples of real frames, a fifth of them without damage, all without questions.

    The same arguments give the same examples. An image that cannot be read is skipped; the
    examples of the others do not depend on it.

    Args:
        sources: Where the frames are taken from.
        detector: Finds the truth and, in the damaged image, the candidates; its
            `candidate_threshold` must not be above `MAX_CANDIDATE_THRESHOLD`.
        encoder: Gives the tokens `V_m` of the damaged image, unless it is None.
        views: How many examples are made of each frame.
        seed: Of all that is random.
        progress: Called with a line for each image that is skipped.

    Yields:
        Examples with features and tokens in half precision in main memory.

    Raises:
        ImageError: If a source cannot be read.
        DataError: If one has no frames in its range, or more than half of its images are skipped.
    """
    for corrupted_images in batches(_shots(sources, views, seed, progress)):
        clean = detector.detect([corrupted_image.clean for corrupted_image in corrupted_images])
        damaged = compute_candidates(
            [corrupted_image.damaged for corrupted_image in corrupted_images], detector, encoder
        )
        for corrupted_image, sure, perceived in zip(corrupted_images, clean, damaged, strict=True):
            yield _example(corrupted_image, sure, perceived)


def _shots(
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
                clean = View.draw(frame.shape, rng).image(frame)
                yield CorruptedImage.of(clean, _DAMAGED_SHARE, rng)
        skipped.close(count + skipped.count)
        if not count:
            last = "the end" if source.last is None else source.last
            raise DataError(f"{source.path} has no frames from {source.first} to {last}")


def _example(corrupted_image: CorruptedImage, clean: Perception, damaged: Example) -> Example:
    truth = pseudo_labels(clean)
    targets = match_targets(
        damaged.perception.candidates,
        truth,
        measure_colors(corrupted_image.clean, truth),
        unsure=uncertain_objects(clean),
        novelty=corrupted_image.novelty,
        # A few videos show few kinds of things, and everything would be called by their names.
        relabel=False,
    )
    # What the damage hides is there all the same.
    missed = unreported(clean.detections, damaged.perception.detections)
    return replace(half_precision(damaged), targets=targets, missed=missed)
