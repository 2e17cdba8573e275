# SPDX-License-Identifier: Apache-2.0
"""Training examples from labeled images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrmllm_ros.datasets.annotated_scenes import annotated_scene, is_complete, with_distances
from mrmllm_ros.datasets.candidate_cache import (
    batches,
    compute_candidates,
    fuse_labels,
    half_precision,
)
from mrmllm_ros.datasets.coco import CocoDataset, CocoImage
from mrmllm_ros.datasets.data_errors import DataError, Skipped
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.datasets.feature_cache import FeatureCache, ViewFeatures, digest_of
from mrmllm_ros.datasets.labeled_views import LabeledView, labeled_views
from mrmllm_ros.datasets.targets import match_targets, unreported
from mrmllm_ros.datasets.views import CorruptedImage, generator
from mrmllm_ros.detection.colors import measure_colors
from mrmllm_ros.detection.detector import Detector, Perception
from mrmllm_ros.detection.images import ImageError, read_image
from mrmllm_ros.detection.rgbd_frames import read_depth_mm
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.visual_encoder import VisualEncoder
from mrmllm_ros.weights.download import digest

# Share of views with distances, where annotations state them: not every robot measures them.
_WITH_DISTANCES = 0.5
_MILLIMETERS = 1000.0
_REPORT_INTERVAL_S = 10.0


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Sampling of views.

    Attributes:
        views: Number of views of each image.
        seed: Random seed.
        corrupted_share: Probability that a view is corrupted, from 0 to 1.
    """

    views: int = 1
    seed: int = 0
    corrupted_share: float = 0.5


def coco_examples(
    dataset: CocoDataset,
    detector: Detector,
    encoder: VisualEncoder | None,
    settings: ViewSettings | None = None,
    *,
    label_fusion: LabelFusion | None = None,
    cache: FeatureCache | None = None,
    computed: Callable[[], None] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Example]:
    """Make examples without questions from views of labeled images.

    The candidates are those of the detector in a view, the targets are the labels. The same
    arguments give the same examples. An image that cannot be decoded, or whose size differs from
    the annotations, is skipped without a change to the examples of other images.

    Args:
        dataset: The labeled images.
        detector: Detector of the candidates.
        encoder: Encoder of the tokens `V_m`, or None for examples without them.
        settings: How views are sampled.
        label_fusion: Corrects the labels of the candidates; None to keep the detector's.
        cache: Features of earlier runs, for these models and settings; None to compute all.
        computed: Called each time after features have been computed and kept.
        progress: Called with a line for each skipped image, and with the number of images.

    Yields:
        Examples with features and tokens in half precision in main memory.

    Raises:
        DataError: If more than half of the images are skipped.
    """
    report = progress or (lambda line: None)
    settings = settings or ViewSettings()
    source = _FeatureSource(dataset.file, detector, encoder, label_fusion, settings, cache)
    maker = _ExampleMaker(dataset, detector, label_fusion, settings.seed)
    skipped = Skipped(f"images of {dataset.file}", progress)
    total, done, reported_s = len(dataset.images), 0, time.monotonic()
    for items in batches(dataset.images):
        before = source.computed
        for item, views, features in source.features(items, skipped):
            for view, each in zip(views, features, strict=True):
                yield maker.example(item, view, each)
        done += len(items)
        if time.monotonic() - reported_s >= _REPORT_INTERVAL_S:
            reported_s = time.monotonic()
            report(f"features: {done} of {total} images")
        if computed is not None and source.computed > before:
            computed()
    skipped.close(total)
    kept = total - skipped.count - source.computed
    report(f"features: {total} of {total} images, {kept} of them from earlier runs")


@dataclass
class _FeatureSource:
    """Reads or computes the features of views.

    Attributes:
        file: Annotations file.
        computed: Number of images whose features were computed.
    """

    file: Path
    detector: Detector
    encoder: VisualEncoder | None
    label_fusion: LabelFusion | None
    settings: ViewSettings
    cache: FeatureCache | None
    computed: int = 0

    def features(
        self, items: Sequence[CocoImage], skipped: Skipped
    ) -> list[tuple[CocoImage, list[LabeledView], list[ViewFeatures]]]:
        """Views of usable images with their features, in the order of the images."""
        found: dict[int, list[ViewFeatures]] = {}
        missing: list[_Image] = []
        keys: dict[int, str] = {}
        all_views = [
            list(labeled_views(item, self.settings.views, self.settings.seed)) for item in items
        ]
        for i, item in enumerate(items):
            try:
                keys[i] = "" if self.cache is None else _image_key(item, self.file)
                kept = self.cache.read(keys[i]) if self.cache is not None else None
                if kept is None:
                    missing.append(_Image.read(i, item, self.file))
                else:
                    found[i] = kept
            except (ImageError, DataError) as error:
                skipped.add(error)
        for i, computed in self._compute(missing, all_views).items():
            found[i] = computed
            if self.cache is not None:
                self.cache.write(keys[i], computed)
        return [(items[i], all_views[i], found[i]) for i in sorted(found)]

    def _compute(
        self, images: Sequence[_Image], all_views: Sequence[Sequence[LabeledView]]
    ) -> dict[int, list[ViewFeatures]]:
        self.computed += len(images)
        measured: list[tuple[_Image, LabeledView, CorruptedImage]] = []

        def corrupted() -> Iterator[np.ndarray]:
            for image in images:
                for view in all_views[image.index]:
                    clean = view.view.crop(image.bgr)
                    made = CorruptedImage.sample(clean, self.settings.corrupted_share, view.rng)
                    measured.append((image, view, made))
                    yield made.corrupted

        found: dict[int, list[ViewFeatures]] = {image.index: [] for image in images}
        models = (self.detector, self.encoder, self.label_fusion)
        for example in compute_candidates(corrupted(), *models):
            # Views are sampled in batches, before their features are computed.
            image, view, made = measured.pop(0)
            found[image.index].append(_view_features(example, image, view, made))
        return found


@dataclass(frozen=True, eq=False, kw_only=True)
class _Image:
    """An image with its index in a batch, and its depth in meters, zero if unknown."""

    index: int
    bgr: np.ndarray
    depth: np.ndarray | None

    @classmethod
    def read(cls, index: int, item: CocoImage, annotations: Path) -> _Image:
        """Read an image and its depth.

        Raises:
            ImageError: If the image or its depth cannot be read.
            DataError: If the image has another size than annotated.
        """
        bgr = read_image(item.path)
        _check_size(bgr, item, annotations)
        return cls(index=index, bgr=bgr, depth=_read_depth(item, annotations))


def _check_size(image: np.ndarray, item: CocoImage, annotations: Path) -> None:
    size = image.shape[1::-1]
    if size != item.objects.resolution_wh:
        expected = "{} x {}".format(*item.objects.resolution_wh)
        raise DataError(
            f"{item.path} is {size[0]} x {size[1]} pixels, but {annotations} says {expected}; "
            "annotate the images in the orientation of their EXIF data"
        )


def _depth_file(item: CocoImage, annotations: Path) -> Path | None:
    name = item.entry.get("depth_file")
    return annotations.parent / name if isinstance(name, str) else None


def _read_depth(item: CocoImage, annotations: Path) -> np.ndarray | None:
    """(H, W) depth in meters, from millimeters; None if the image has none."""
    file = _depth_file(item, annotations)
    if file is None:
        return None
    return read_depth_mm(file, item.objects.resolution_wh) / _MILLIMETERS


def _image_key(item: CocoImage, annotations: Path) -> str:
    """Digest of all of an image that its features depend on.

    Raises:
        ImageError: If a file cannot be read.
    """
    depth = _depth_file(item, annotations)
    objects: list[Any] = [item.objects.xyxy.tolist(), item.objects.labels, item.crowd.tolist()]
    ignored = [bool(each.get("ignore")) for each in item.annotations]
    try:
        files = [digest(item.path), "" if depth is None else digest(depth)]
    except OSError as error:
        raise ImageError(f"cannot read {error.filename}: {error.strerror}") from error
    return digest_of([item.name, item.objects.resolution_wh, files, objects, ignored])


def _view_features(
    example: Example, image: _Image, view: LabeledView, made: CorruptedImage
) -> ViewFeatures:
    candidates = replace(example.perception.candidates, masks=None)
    perception = Perception(
        candidates,
        example.perception.score_threshold,
        box_features=example.perception.features,
        label_scores=example.perception.label_scores,
    )
    depths_m = np.full(len(candidates), np.nan, np.float32)
    if image.depth is not None:
        depths_m = _median_depths(image.depth, view.view.restore_boxes(candidates.xyxy))
    return ViewFeatures(
        example=half_precision(replace(example, perception=perception)),
        novelty=made.novelty,
        colors=measure_colors(made.clean, view.truth),
        depths_m=depths_m,
    )


def _median_depths(depth: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
    """(N,) float32 median depth of the inner half of each box in meters, NaN without depth."""
    found = np.full(len(xyxy), np.nan, np.float32)
    center, half = (xyxy[:, :2] + xyxy[:, 2:]) / 2, (xyxy[:, 2:] - xyxy[:, :2]) / 4
    for i, (start, end) in enumerate(zip(center - half, center + half, strict=True)):
        (left, top), (right, bottom) = start.astype(int).clip(0), end.astype(int) + 1
        inner = depth[top:bottom, left:right]
        if (inner > 0).any():
            found[i] = np.median(inner[inner > 0])
    return found


class _ExampleMaker:
    """Adds targets and scenes to the features of views."""

    def __init__(
        self,
        dataset: CocoDataset,
        detector: Detector,
        label_fusion: LabelFusion | None,
        seed: int,
    ) -> None:
        self._labels = frozenset(dataset.labels)
        self._vocabulary = frozenset(detector.labels)
        self._is_complete = is_complete(dataset)
        self._label_fusion = label_fusion
        self._seed = seed

    def example(self, item: CocoImage, view: LabeledView, features: ViewFeatures) -> Example:
        """Make the example of a view."""
        example, depths_m = features.example, features.depths_m
        if self._label_fusion is not None:
            example, order = fuse_labels(example, self._label_fusion)
            depths_m = depths_m[order]
        candidates = example.perception.candidates
        # Objects of these labels may be present without an annotation.
        unknown = item.unboxed_labels | ({*self._vocabulary, *candidates.labels} - self._labels)
        colors = [
            known or measured for known, measured in zip(view.colors, features.colors, strict=True)
        ]
        targets = match_targets(
            candidates,
            view.truth,
            colors,
            ignored_objects=view.partial,
            ignored_regions=view.crowds,
            ignored=np.array([label in unknown for label in candidates.labels], bool),
            novelty=features.novelty,
        )
        uncertain = unknown.union(view.partial.labels, view.crowds.labels)
        example = replace(example, targets=targets, context=_text(item, "context") or None)
        if self._is_complete:
            return self._with_scene(replace(example, missed=uncertain), item, view, depths_m)
        missed = unreported(view.truth, example.perception.detections)
        return replace(example, missed=missed | uncertain)

    def _with_scene(
        self, example: Example, item: CocoImage, view: LabeledView, depths_m: np.ndarray
    ) -> Example:
        perception = example.perception
        rng = generator(self._seed, item.name, view.number, 1)
        if not np.isnan(view.distances_m).all() and rng.random() < _WITH_DISTANCES:
            perception = with_distances(perception, view, depths_m)
        colors = [attributes.get("color", "") for attributes in example.attributes]
        scene = annotated_scene(perception, colors, view, _text(item, "place"))
        return replace(example, perception=perception, scene=scene)


def _text(item: CocoImage, name: str) -> str:
    value = item.entry.get(name)
    return value.strip() if isinstance(value, str) else ""
