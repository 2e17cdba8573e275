# SPDX-License-Identifier: Apache-2.0
"""Examples from images whose objects were labeled by hand: annotations in COCO's format.

https://cocodataset.org/#format-data, "object detection"; masks are not used.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrmllm_ros.datasets.candidate_cache import batches, compute_candidates, half_precision
from mrmllm_ros.datasets.data_errors import (
    DataError,
    Skipped,
    is_pixel_list,
    is_unicode,
    parse_json,
    read_text,
)
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.datasets.targets import match_targets, unreported
from mrmllm_ros.datasets.views import CorruptedImage, View, generator
from mrmllm_ros.detection.colors import measure_colors
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Detector
from mrmllm_ros.detection.images import ImageError, read_image
from mrmllm_ros.model.visual_encoder import VisualEncoder

# An object of which less is left in a view may be found there or not.
_LEAST_VISIBLE = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoImage:
    """What is known of one image.

    Attributes:
        name: As the annotations have it.
        path: The image file.
        truth: The labeled objects.
        crowds: Regions with any number of objects that are not labeled one by one.
        unsure: Labels of objects whose box cannot be used: there may be more of these.
    """

    name: str
    path: Path
    truth: Detections
    crowds: Detections
    unsure: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoDataset:
    """Labeled images.

    Attributes:
        file: The annotations file.
        images: In its order.
        labels: All names that objects were looked for under.
    """

    file: Path
    images: tuple[CocoImage, ...]
    labels: tuple[str, ...]


def coco_examples(
    dataset: CocoDataset,
    detector: Detector,
    encoder: VisualEncoder | None,
    *,
    views: int = 1,
    seed: int = 0,
    corrupted_share: float = 0.5,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Example]:
    """Make examples of labeled images.

    Each is of a part of an image, perhaps mirrored and damaged, without questions. The candidates
    are what the detector finds there, the targets are the labels. The same arguments give the same
    examples. An image that cannot be decoded, or of another size than the annotations say, is
    skipped; the examples of the others do not depend on it.

    Args:
        dataset: The labeled images.
        detector: Finds the candidates.
        encoder: Gives the tokens `V_m`, unless it is None.
        views: How many examples are made of each image.
        seed: Of all that is random.
        corrupted_share: How many of the examples are damaged, from 0 to 1.
        progress: Called with a line for each image that is skipped.

    Yields:
        Examples with features and tokens in half precision in main memory.

    Raises:
        DataError: If more than half of the images are skipped.
    """
    skipped = Skipped(f"images of {dataset.file}", progress)
    for corrupted_images in batches(_shots(dataset, views, seed, corrupted_share, skipped)):
        found = compute_candidates(
            [item.corrupted_image.damaged for item in corrupted_images], detector, encoder
        )
        for item, perceived in zip(corrupted_images, found, strict=True):
            yield _example(item, perceived, frozenset(dataset.labels), detector.labels)


def read_coco(
    images: Path, annotations: Path, progress: Callable[[str], None] | None = None
) -> CocoDataset:
    """Read and check the annotations; of the images only whether they are there.

    An image that is missing or badly described is skipped, and an annotation with a bad box or of
    nothing that is listed.

    Args:
        images: Folder that the file names in the annotations are relative to.
        annotations: JSON file with COCO's instances.
        progress: Called with a line for each entry that is skipped.

    Raises:
        DataError: If a file is missing or not in this format, a category is wrong, or more than
            half of the images or of the annotations are skipped.
    """
    if not os.path.isdir(images):
        raise DataError(f"there is no folder {images}; name the one that holds the images")
    content = _parse(annotations)
    names = _labels(annotations, content)
    files = _files(annotations, content, images, progress)
    boxes: dict[Any, list[_Box]] = {key: [] for key in files}
    unsure: dict[Any, set[str]] = defaultdict(set)
    entries = _entries(annotations, content, "annotations")
    skipped = Skipped(f"annotations of {annotations}", progress)
    for entry in entries:
        try:
            key = entry.reference("image_id", files, "images")
            label = names[entry.reference("category_id", names, "categories")]
            if not _is_bbox(entry.values.get("bbox")):
                unsure[key].add(label)
            boxes[key].append(_Box(label, _xyxy(entry), bool(entry.values.get("iscrowd"))))
        except DataError as error:
            skipped.add(error)
    skipped.close(len(entries))
    return CocoDataset(
        file=annotations,
        images=tuple(
            _coco_image(file, boxes[key], frozenset(unsure[key]))
            for key, file in files.items()
            if file is not None
        ),
        labels=tuple(dict.fromkeys(names.values())),
    )


@dataclass(frozen=True)
class _File:
    """An image as the annotations file lists it."""

    name: str
    path: Path
    resolution_wh: tuple[int, int]


@dataclass(frozen=True)
class _Box:
    label: str
    xyxy: tuple[float, float, float, float]
    is_crowd: bool


@dataclass(frozen=True)
class _Entry:
    """An entry of a list and what messages call it."""

    where: str
    content: Any

    @property
    def values(self) -> Mapping[str, Any]:
        """Its fields."""
        if not isinstance(self.content, dict):
            raise DataError(f"{self.where} is {self.content!r}; it must be an object with fields")
        return self.content

    def field(self, name: str, types: tuple[type, ...], wanted: str) -> Any:
        """A field of one of these types; `wanted` says in words what it must be."""
        value = self.values.get(name)
        if type(value) not in types or (isinstance(value, str) and not is_unicode(value)):
            raise DataError(f'{self.where} has {name} {value!r}; "{name}" must be {wanted}')
        return value

    def new_id(self, known: Mapping[Any, Any]) -> int | str:
        """Its id, which no earlier entry has."""
        key = self.field("id", (int, str), "a number or text that no other has")
        if key in known:
            raise DataError(
                f"{self.where} has the id {key!r} of an earlier one; give each its own"
            )
        return key

    def reference(self, name: str, known: Mapping[Any, Any], part: str) -> Any:
        """The id of an entry of another list."""
        key = self.values.get(name)
        if not isinstance(key, (int, str)) or key not in known:
            raise DataError(
                f"{self.where} (id {self.values.get('id')}) has the {name} {key!r}, which no "
                f'entry of "{part}" has; add it there or remove the annotation'
            )
        return key


def _parse(path: Path) -> Mapping[str, Any]:
    try:
        content = parse_json(read_text(path))
    except ValueError as error:
        raise DataError(
            f"{path} is not JSON: {error}; export the annotations again, as COCO JSON"
        ) from error
    if not isinstance(content, dict):
        raise DataError(
            f'{path} is not a COCO file: it needs an object with "images", "annotations" and '
            '"categories"'
        )
    return content


def _entries(path: Path, content: Mapping[str, Any], part: str) -> list[_Entry]:
    entries = content.get(part)
    if not isinstance(entries, list) or not entries:
        raise DataError(f'{path} has no {part}: it needs a list "{part}" with at least one entry')
    return [_Entry(f"{path}: {part}[{index}]", entry) for index, entry in enumerate(entries)]


def _labels(path: Path, content: Mapping[str, Any]) -> dict[Any, str]:
    """Names of the categories, by id."""
    names: dict[Any, str] = {}
    for entry in _entries(path, content, "categories"):
        names[entry.new_id(names)] = _category(entry)
    return names


def _files(
    path: Path, content: Mapping[str, Any], folder: Path, progress: Callable[[str], None] | None
) -> dict[Any, _File | None]:
    """The images, by id; None for one that is skipped."""
    files: dict[Any, _File | None] = {}
    entries = _entries(path, content, "images")
    skipped = Skipped(f"images of {path}", progress)
    for entry in entries:
        try:
            key = entry.new_id(files)
            files[key] = None
            files[key] = _image(entry, folder)
        except DataError as error:
            skipped.add(error)
    skipped.close(len(entries))
    return files


def _category(entry: _Entry) -> str:
    name = entry.field("name", (str,), "the label of the objects").strip()
    if not name:
        raise DataError(f'{entry.where} has a blank name; "name" must be the label of the objects')
    return name


def _image(entry: _Entry, folder: Path) -> _File:
    name = entry.field("file_name", (str,), f"the image's path within {folder}")
    path = folder / name
    if not os.path.isfile(path):
        raise DataError(
            f"{entry.where}: there is no image {path}; check the images folder and file_name"
        )
    width, height = (entry.field(side, (int,), "in whole pixels") for side in ("width", "height"))
    if min(width, height) < 1:
        raise DataError(f"{entry.where} has the size {width} x {height}; it must be in pixels")
    return _File(name, path, (width, height))


def _xyxy(entry: _Entry) -> tuple[float, float, float, float]:
    bbox = entry.values.get("bbox")
    if not _is_bbox(bbox):
        raise DataError(
            f"{entry.where} (id {entry.values.get('id')}) has the bbox {bbox!r}; it must be "
            "[left, top, width, height] in pixels, width and height not below 0"
        )
    left, top, width, height = map(float, bbox)
    return left, top, left + width, top + height


def _is_bbox(value: Any) -> bool:
    return is_pixel_list(value, 4) and min(value[2:]) >= 0


def _coco_image(file: _File, boxes: Sequence[_Box], unsure: frozenset[str]) -> CocoImage:
    objects, crowds = (
        _detections([box for box in boxes if box.is_crowd == is_crowd], file.resolution_wh)
        for is_crowd in (False, True)
    )
    return CocoImage(name=file.name, path=file.path, truth=objects, crowds=crowds, unsure=unsure)


def _detections(boxes: Sequence[_Box], resolution_wh: tuple[int, int]) -> Detections:
    """The boxes as far as they lie in the image; those without an area say nothing."""
    xyxy = np.array([box.xyxy for box in boxes], np.float32).reshape(-1, 4)
    clipped = xyxy.clip(0, np.tile(np.float32(resolution_wh), 2))
    found = Detections(
        xyxy=clipped,
        scores=np.ones(len(boxes), np.float32),
        labels=tuple(box.label for box in boxes),
        resolution_wh=resolution_wh,
    )
    return found.take(np.flatnonzero(_areas(clipped) > 0))


def _areas(xyxy: np.ndarray) -> np.ndarray:
    return np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class _LabeledView:
    """A view of an image and what is known of it."""

    corrupted_image: CorruptedImage
    truth: Detections
    partial: Detections
    crowds: Detections
    unsure: frozenset[str]


def _shots(
    dataset: CocoDataset, views: int, seed: int, corrupted_share: float, skipped: Skipped
) -> Iterator[_LabeledView]:
    for item in dataset.images:
        try:
            image = read_image(item.path)
            _check_size(image, item, dataset.file)
        except (ImageError, DataError) as error:
            skipped.add(error)
            continue
        for number in range(views):
            rng = generator(seed, item.name, number)
            view = View.draw(image.shape, rng)
            truth, partial = _within(item.truth, view)
            crowds, rests = _within(item.crowds, view)
            corrupted_image = CorruptedImage.of(view.image(image), corrupted_share, rng)
            yield _LabeledView(
                corrupted_image=corrupted_image,
                truth=truth,
                partial=partial,
                crowds=_joined(crowds, rests),
                unsure=item.unsure,
            )
    skipped.close(len(dataset.images))


def _check_size(image: np.ndarray, item: CocoImage, annotations: Path) -> None:
    size = image.shape[1::-1]
    if size != item.truth.resolution_wh:
        given = "{} x {}".format(*item.truth.resolution_wh)
        raise DataError(
            f"{item.path} is {size[0]} x {size[1]} pixels, but {annotations} says {given}; make "
            "the annotations of the images as they are, turned as their EXIF data say"
        )


def _within(detections: Detections, view: View) -> tuple[Detections, Detections]:
    """The objects of which a view shows half or more, and those of which it shows less."""
    moved = view.boxes(detections.xyxy)
    clipped = moved.clip(0, np.tile(np.float32(view.resolution_wh), 2))
    visible = _areas(clipped) / _areas(moved).clip(1e-9)
    shown = Detections(clipped, detections.scores, detections.labels, view.resolution_wh)
    whole = visible >= _LEAST_VISIBLE
    return shown.take(np.flatnonzero(whole)), shown.take(np.flatnonzero(~whole & (visible > 0)))


def _joined(one: Detections, other: Detections) -> Detections:
    return Detections(
        xyxy=np.concatenate([one.xyxy, other.xyxy]),
        scores=np.concatenate([one.scores, other.scores]),
        labels=one.labels + other.labels,
        resolution_wh=one.resolution_wh,
    )


def _example(
    item: _LabeledView,
    perceived: Example,
    labels: frozenset[str],
    vocabulary: Sequence[str],
) -> Example:
    """An example of a view.

    Args:
        item: The view.
        perceived: What the detector finds in it.
        labels: Names that objects were looked for under.
        vocabulary: The detector's labels.
    """
    candidates = perceived.perception.candidates
    targets = match_targets(
        candidates,
        item.truth,
        measure_colors(item.corrupted_image.clean, item.truth),
        doubtful=item.partial,
        regions=item.crowds,
        # Not all of these names are labeled: that none is there is not known.
        unjudged=np.array(
            [label not in labels or label in item.unsure for label in candidates.labels], bool
        ),
        novelty=item.corrupted_image.novelty,
    )
    missed = unreported(item.truth, perceived.perception.detections)
    # What is there in part, in any number or somewhere, and what nobody looked for.
    unsure = {
        *item.partial.labels,
        *item.crowds.labels,
        *item.unsure,
        *(set(vocabulary) - labels),
    }
    return replace(half_precision(perceived), targets=targets, missed=missed | unsure)
