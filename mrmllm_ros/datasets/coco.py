# SPDX-License-Identifier: Apache-2.0
"""Read annotations in COCO's format.

https://cocodataset.org/#format-data, "object detection"; masks are not used.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrmllm_ros.datasets.data_errors import (
    DataError,
    Skipped,
    is_pixel_list,
    is_unicode,
    parse_json,
    read_text,
)
from mrmllm_ros.detection.boxes import clip_boxes
from mrmllm_ros.detection.detections import Detections


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoImage:
    """Annotations of one image.

    Attributes:
        name: File name in the annotations.
        path: Image file.
        objects: N labeled boxes, crowds included, in the order of the annotations.
        crowd: (N,) bool, true for a region with any number of objects.
        unboxed_labels: Labels of annotations without a valid box: more such objects may be there.
        entry: The image's entry in the annotations file.
        annotations: N entries of the objects in the annotations file.
    """

    name: str
    path: Path
    objects: Detections
    crowd: np.ndarray
    unboxed_labels: frozenset[str] = frozenset()
    entry: Mapping[str, Any] = field(default_factory=dict)
    annotations: tuple[Mapping[str, Any], ...] = ()

    @property
    def truth(self) -> Detections:
        """The labeled objects."""
        return self.objects.take(np.flatnonzero(~self.crowd))

    @property
    def crowds(self) -> Detections:
        """Regions with any number of objects."""
        return self.objects.take(np.flatnonzero(self.crowd))


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoDataset:
    """Labeled images.

    Attributes:
        file: Annotations file.
        images: Images in the order of the file.
        labels: Names of all categories; objects of other labels are not annotated.
    """

    file: Path
    images: tuple[CocoImage, ...]
    labels: tuple[str, ...]


def read_coco(
    images: Path | None, annotations: Path, progress: Callable[[str], None] | None = None
) -> CocoDataset:
    """Read and check annotations, and check that the image files exist.

    Wrong entries of images and annotations are skipped.

    Args:
        images: Folder that the file names in the annotations are relative to, or None if the
            images are not files.
        annotations: JSON file with COCO's instances.
        progress: Called with a line for each skipped entry.

    Raises:
        DataError: If a file is missing or not in this format, a category is wrong, or more than
            half of the images or of the annotations are skipped.
    """
    if images is not None and not os.path.isdir(images):
        raise DataError(f"there is no folder {images}; give the folder of the images")
    content = _parse(annotations)
    labels: dict[Any, str] = {}
    for entry in _entries(annotations, content, "categories"):
        labels[entry.new_id(labels)] = entry.label()
    by_id = _read_images(annotations, content, images, progress)
    boxes: dict[Any, list[_Box]] = defaultdict(list)
    unboxed: dict[Any, set[str]] = defaultdict(set)
    entries = _entries(annotations, content, "annotations")
    skipped = Skipped(f"annotations of {annotations}", progress)
    for entry in entries:
        try:
            key = entry.reference("image_id", by_id, "images")
            label = labels[entry.reference("category_id", labels, "categories")]
            if not _is_bbox(entry.values.get("bbox")):
                unboxed[key].add(label)
            boxes[key].append(_Box(label, entry.xyxy(), entry.values))
        except DataError as error:
            skipped.add(error)
    skipped.close(len(entries))
    return CocoDataset(
        file=annotations,
        images=tuple(
            _annotated(image, boxes[key], frozenset(unboxed[key]))
            for key, image in by_id.items()
            if image is not None
        ),
        labels=tuple(dict.fromkeys(labels.values())),
    )


@dataclass(frozen=True)
class _Box:
    label: str
    xyxy: tuple[float, float, float, float]
    entry: Mapping[str, Any]


@dataclass(frozen=True)
class _Entry:
    """Entry of a list, with its place in the file for messages."""

    where: str
    content: Any

    @property
    def values(self) -> Mapping[str, Any]:
        """Fields of the entry."""
        if not isinstance(self.content, dict):
            raise DataError(f"{self.where} is {self.content!r}; it must be an object with fields")
        return self.content

    def field(self, name: str, types: tuple[type, ...], expected: str) -> Any:
        """Return a field of one of these types; `expected` describes it in messages."""
        value = self.values.get(name)
        if type(value) not in types or (isinstance(value, str) and not is_unicode(value)):
            raise DataError(f'{self.where} has {name} {value!r}; "{name}" must be {expected}')
        return value

    def new_id(self, known: Mapping[Any, Any]) -> int | str:
        """Return the id, which must differ from those of earlier entries."""
        key = self.field("id", (int, str), "a unique number or text")
        if key in known:
            raise DataError(f"{self.where} has the id {key!r} of an earlier entry; make it unique")
        return key

    def reference(self, name: str, known: Mapping[Any, Any], part: str) -> Any:
        """Return the id of an entry in another list."""
        key = self.values.get(name)
        if not isinstance(key, (int, str)) or key not in known:
            raise DataError(
                f"{self.where} (id {self.values.get('id')}) has the {name} {key!r}, which no "
                f'entry of "{part}" has; add it there or remove the annotation'
            )
        return key

    def label(self) -> str:
        """Return the name of a category."""
        name = self.field("name", (str,), "the label of the objects").strip()
        if not name:
            raise DataError(
                f'{self.where} has a blank name; "name" must be the label of the objects'
            )
        return name

    def image(self, folder: Path | None) -> CocoImage:
        """Return an image without annotations."""
        name = self.field("file_name", (str,), "the path of the image")
        path = (folder or Path()) / name
        if folder is not None and not os.path.isfile(path):
            raise DataError(
                f"{self.where}: there is no image {path}; check the images folder and file_name"
            )
        width, height = (
            self.field(side, (int,), "in whole pixels") for side in ("width", "height")
        )
        if min(width, height) < 1:
            raise DataError(f"{self.where} has the size {width} x {height}; it must be in pixels")
        return CocoImage(
            name=name,
            path=path,
            objects=Detections.empty((width, height)),
            crowd=np.zeros(0, bool),
            entry=self.values,
        )

    def xyxy(self) -> tuple[float, float, float, float]:
        """Return the corners of an annotation's box."""
        bbox = self.values.get("bbox")
        if not _is_bbox(bbox):
            raise DataError(
                f"{self.where} (id {self.values.get('id')}) has the bbox {bbox!r}; it must be "
                "[left, top, width, height] in pixels, width and height not below 0"
            )
        left, top, width, height = map(float, bbox)
        return left, top, left + width, top + height


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


def _read_images(
    path: Path,
    content: Mapping[str, Any],
    folder: Path | None,
    progress: Callable[[str], None] | None,
) -> dict[Any, CocoImage | None]:
    """Images by id; None for skipped images."""
    images: dict[Any, CocoImage | None] = {}
    entries = _entries(path, content, "images")
    skipped = Skipped(f"images of {path}", progress)
    for entry in entries:
        try:
            key = entry.new_id(images)
            images[key] = None
            images[key] = entry.image(folder)
        except DataError as error:
            skipped.add(error)
    skipped.close(len(entries))
    return images


def _is_bbox(value: Any) -> bool:
    return is_pixel_list(value, 4) and min(value[2:]) >= 0


def _annotated(image: CocoImage, boxes: Sequence[_Box], unboxed: frozenset[str]) -> CocoImage:
    """Add boxes to an image, clipped to it; boxes without an area are removed."""
    resolution_wh = image.objects.resolution_wh
    xyxy = np.array([box.xyxy for box in boxes], np.float32).reshape(-1, 4)
    objects = Detections(
        xyxy=clip_boxes(xyxy, resolution_wh),
        scores=np.ones(len(boxes), np.float32),
        labels=tuple(box.label for box in boxes),
        resolution_wh=resolution_wh,
    )
    valid = np.flatnonzero(objects.areas > 0)
    annotations = tuple(boxes[i].entry for i in valid)
    return replace(
        image,
        objects=objects.take(valid),
        crowd=np.array([bool(each.get("iscrowd")) for each in annotations], bool),
        unboxed_labels=unboxed,
        annotations=annotations,
    )
