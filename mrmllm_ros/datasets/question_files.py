# SPDX-License-Identifier: Apache-2.0
"""Read questions and answers about images, one JSON object a line, and make examples of them.

Without boxes, as in visual question answering:

    {"image": "a.jpg", "question": "Is the door open?", "answer": "Yes, it is open."}

or grounded, with `<k>` for the k-th box (left, top, right, bottom in pixels):

    {"image": "a.jpg", "question": "Where is the forklift?",
     "answer": "The forklift <1> is on the left.", "boxes": [[12, 40, 210, 300]]}

Optional are `"truth"`, the statements of a right answer with the names of `Truth`, and `"family"`,
the question family.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from mrmllm_ros.datasets.example import Example, QuestionAnswer, Truth
from mrmllm_ros.datasets.targets import MATCH_IOU
from mrmllm_ros.detection.boxes import box_iou
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Detector
from mrmllm_ros.detection.images import ImageError, read_image
from mrmllm_ros.model.citations import CITATION
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.visual_encoder import VisualEncoder

FAMILY = "user"

_FIELDS = ("image", "question", "answer", "boxes", "truth", "family")
_PLACEHOLDER = re.compile(r"<(\d+)>")
_BOX = "[left, top, right, bottom] in pixels of the image"
_TRUTH_TYPES = {
    "polarity": bool,
    "number": int,
    "mentions": list,
    "among": list,
    "cites_answer": bool,
    "unanswerable": bool,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class QuestionRecord:
    """One line of a file.

    Attributes:
        where: File and line number, for messages.
        image: Image file.
        question: Text of the question; empty asks for a description.
        answer: Right answer, with `<k>` for the k-th box.
        boxes: (B, 4) float32, left, top, right, bottom in pixels, or None without boxes.
        truth: Statements of a right answer, without its citations.
        family: Question family.
    """

    where: str
    image: Path
    question: str
    answer: str
    boxes: np.ndarray | None
    truth: Truth
    family: str


def question_examples(
    records: Sequence[QuestionRecord],
    detector: Detector,
    encoder: VisualEncoder | None,
    *,
    max_questions: int = 16,
    progress: Callable[[str], None] | None = None,
    skipped: Skipped | None = None,
    label_fusion: LabelFusion | None = None,
) -> Iterator[Example]:
    """Make examples of images with the questions about them, without targets.

    A box is replaced by the id of the reported object with the highest IoU, if that is 0.5 or
    more. Otherwise its citation is removed; if the citation is the answer (`cites_answer`), the
    question is removed.

    Args:
        records: Questions from `read_questions`.
        detector: Detector of the candidates.
        encoder: Encoder of the tokens `V_m`, or None for examples without them.
        max_questions: Maximum number of questions of an example; an image with more questions
            gives several examples.
        progress: Called at the end with the number of removed citations, if any.
        skipped: Collects questions about unreadable images and with boxes outside the image,
            beside those that `read_questions` has skipped; closed at the end.
        label_fusion: Names the regions of candidates; None for examples without names.

    Yields:
        Examples with features and tokens in half precision in main memory, in the order of the
        first question about each image.

    Raises:
        DataError: If more than half of the questions are skipped.
    """
    removed = _Removed()
    skipped = skipped or Skipped("questions")
    total = len(records) + skipped.count
    for batch in batches(_with_images(records, skipped)):
        images = [image for _, image in batch]
        scenes = compute_candidates(images, detector, encoder, label_fusion)
        for (questions, _), scene in zip(batch, map(half_precision, scenes), strict=True):
            reported = scene.perception.detections
            valid = [item for item in questions if _boxes_inside(item, reported, skipped)]
            grounded = [_grounded(item, reported, removed) for item in valid]
            kept = tuple(item for item in grounded if item is not None)
            for start in range(0, len(kept), max_questions):
                yield replace(scene, questions=kept[start : start + max_questions])
    skipped.close(total)
    if progress is not None and removed.citations:
        progress(str(removed))


def read_questions(file: Path, skipped: Skipped | None = None) -> tuple[QuestionRecord, ...]:
    """Read and check questions, and check that the image files exist.

    Args:
        file: Text file with a JSON object in each line; its image paths are relative to it.
        skipped: Collects questions about missing images.

    Raises:
        DataError: If the file is missing or empty, a line is wrong, or the images of more than
            half of the questions are missing.
    """
    records = parse_questions(file)
    skipped = skipped or Skipped("questions")
    kept = []
    for item in records:
        if os.path.isfile(item.image):
            kept.append(item)
        else:
            skipped.add(
                f"{item.where}: there is no image {item.image}; give its path relative to "
                f"{file.parent}"
            )
    skipped.check_majority(len(records))
    return tuple(kept)


def parse_questions(file: Path) -> tuple[QuestionRecord, ...]:
    """Read and check questions without looking for their images. Blank lines are skipped.

    Raises:
        DataError: If the file is missing or empty, or a line is wrong.
    """
    lines = read_text(file).split("\n")
    numbered = [(f"{file}, line {n}", line) for n, line in enumerate(lines, start=1)]
    records = tuple(
        _record(_parse(line, where), where, file.parent)
        for where, line in numbered
        if line.strip()
    )
    if not records:
        raise DataError(f'{file} has no questions; write one {{"image": …}} object a line')
    return records


def _parse(line: str, where: str) -> Mapping[str, Any]:
    try:
        values = parse_json(line)
    except ValueError as error:
        # The parser's line number is always 1.
        is_syntax = isinstance(error, json.JSONDecodeError)
        reason = f"{error.msg}, column {error.colno}" if is_syntax else error
        raise DataError(f"{where} is not JSON: {reason}; write one object a line") from error
    if not isinstance(values, dict):
        raise DataError(f"{where} is not an object; write {{...}} with {', '.join(_FIELDS[:3])}")
    if unknown := sorted(set(values) - set(_FIELDS)):
        raise DataError(
            f"{where} has unknown fields: {', '.join(unknown)}; use {', '.join(_FIELDS)}"
        )
    return values


def _record(values: Mapping[str, Any], where: str, folder: Path) -> QuestionRecord:
    image = folder / _text(values, "image", where)
    answer = _text(values, "answer", where)
    boxes = _boxes(values["boxes"], where) if "boxes" in values else None
    _check_citations(answer, 0 if boxes is None else len(boxes), where)
    truth = _truth(values.get("truth", {}), where)
    if truth.cites_answer and not _PLACEHOLDER.search(answer):
        raise DataError(
            f'{where}: "cites_answer" needs a citation in the answer; write <k> and add the box '
            'to "boxes"'
        )
    return QuestionRecord(
        where=where,
        image=image,
        question=_text(values, "question", where, may_be_empty=True),
        answer=answer,
        boxes=boxes,
        truth=truth,
        family=_text(values, "family", where) if "family" in values else FAMILY,
    )


def _text(values: Mapping[str, Any], field: str, where: str, *, may_be_empty: bool = False) -> str:
    value = values.get(field)
    if not isinstance(value, str) or not (value.strip() or may_be_empty):
        raise DataError(f'{where} has the {field} {value!r}; "{field}" must be text')
    if not is_unicode(value):
        raise DataError(f"{where} has the {field} {value!r} with a lone surrogate; remove it")
    return value.strip()


def _boxes(value: Any, where: str) -> np.ndarray:
    if not isinstance(value, list):
        raise DataError(f'{where} has the boxes {value!r}; "boxes" must be a list of {_BOX}')
    for number, box in enumerate(value, start=1):
        if not _is_box(box):
            raise DataError(
                f"{where}: box {number} is {box!r}; it must be {_BOX}, right and bottom the larger"
            )
        if max(box) <= 1:
            raise DataError(
                f"{where}: box {number} is {box!r}, which is normalized; it must be {_BOX}"
            )
    return np.array(value, np.float32).reshape(-1, 4)


def _is_box(value: Any) -> bool:
    return is_pixel_list(value, 4) and value[0] < value[2] and value[1] < value[3]


def _check_citations(answer: str, count: int, where: str) -> None:
    for number in map(int, _PLACEHOLDER.findall(answer)):
        if not 1 <= number <= count:
            raise DataError(
                f'{where}: the answer cites <{number}>, but "boxes" has {count}; use <k> for the '
                "k-th box"
            )
    if found := CITATION.search(answer):
        raise DataError(
            f"{where}: the answer contains {found[0]}, but ids come from the detector; write <k> "
            'and add the box to "boxes"'
        )


def _truth(values: Any, where: str) -> Truth:
    if not isinstance(values, dict):
        raise DataError(f'{where} has the truth {values!r}; "truth" must be an object')
    if unknown := sorted(set(values) - set(_TRUTH_TYPES)):
        raise DataError(
            f"{where}: the truth has unknown fields: {', '.join(unknown)}; use "
            f"{', '.join(_TRUTH_TYPES)}"
        )
    for name, value in values.items():
        if not _is_of_type(value, _TRUTH_TYPES[name]):
            types = {bool: "true or false", int: "a whole number", list: "a list of texts"}
            raise DataError(
                f"{where}: the truth has {name} {value!r}; it must be {types[_TRUTH_TYPES[name]]}"
            )
    words = {name: frozenset(value) for name, value in values.items() if isinstance(value, list)}
    if "mentions" in words:
        words["among"] = words["mentions"] | words.get("among", frozenset())
    return Truth(**{**values, **words})


def _is_of_type(value: Any, expected: type) -> bool:
    # `isinstance` would accept true as a number.
    if type(value) is not expected:
        return False
    return expected is not list or all(isinstance(word, str) for word in value)


@dataclass
class _Removed:
    """Counts of citations without an object, and of questions that are removed with them."""

    cited: int = 0
    citations: int = 0
    questions: int = 0

    def __str__(self) -> str:
        text = (
            f"{self.citations} of {self.cited} citations removed: the detector reports no object "
            "in their boxes"
        )
        return f"{text}; {self.questions} questions removed with them" if self.questions else text


def _with_images(
    records: Sequence[QuestionRecord], skipped: Skipped
) -> Iterator[tuple[list[QuestionRecord], np.ndarray]]:
    """Questions about each readable image, with the image."""
    by_image: dict[Path, list[QuestionRecord]] = {}
    for item in records:
        by_image.setdefault(item.image, []).append(item)
    for path, questions in by_image.items():
        try:
            image = read_image(path)
        except ImageError as error:
            skipped.add(f"{questions[0].where}: {error}", len(questions))
            continue
        yield questions, image


def _boxes_inside(item: QuestionRecord, reported: Detections, skipped: Skipped) -> bool:
    """Whether all boxes of a question are inside the image; skips the question if not."""
    if item.boxes is None:
        return True
    width, height = reported.resolution_wh
    # A box may end between pixels.
    outside = ((item.boxes < -1) | (item.boxes > np.array([width, height] * 2) + 1)).any(axis=1)
    if outside.any():
        number = int(outside.argmax()) + 1
        skipped.add(
            f"{item.where}: box {number} is {item.boxes[number - 1].tolist()}, outside of the "
            f"image of {width} x {height} pixels; it must be {_BOX}"
        )
    return not outside.any()


def _grounded(
    item: QuestionRecord, reported: Detections, removed: _Removed
) -> QuestionAnswer | None:
    """Replace boxes by ids of reported objects; None if the cited object is not reported."""
    ids = {} if item.boxes is None else _ids(item.boxes, reported)
    numbers = [int(number) for number in _PLACEHOLDER.findall(item.answer)]
    missing = sum(number not in ids for number in numbers)
    removed.cited += len(numbers)
    removed.citations += missing
    if missing and item.truth.cites_answer:
        removed.questions += 1
        return None
    cited = frozenset(ids[number] for number in numbers if number in ids)
    return QuestionAnswer(
        question=item.question,
        answer=_cite(item.answer, ids),
        family=item.family,
        truth=replace(item.truth, cited=None if item.boxes is None else cited),
    )


def _cite(answer: str, ids: Mapping[int, int]) -> str:
    """Replace `<k>` by `[id]`; without an id, remove it and the blank before it."""

    def citation(match: re.Match[str]) -> str:
        number = int(match[2])
        return f"{match[1]}[{ids[number]}]" if number in ids else ""

    return re.sub(rf"(\s*){_PLACEHOLDER.pattern}", citation, answer).strip()


def _ids(boxes: np.ndarray, reported: Detections) -> dict[int, int]:
    """Match boxes with reported objects one to one, highest IoU first: ids by box number."""
    iou = box_iou(boxes, reported.xyxy)
    ids: dict[int, int] = {}
    while iou.size and iou.max() >= MATCH_IOU:
        box, found = np.unravel_index(iou.argmax(), iou.shape)
        ids[int(box) + 1] = int(found) + 1
        iou[box], iou[:, found] = 0, 0
    return ids
