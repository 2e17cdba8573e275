# SPDX-License-Identifier: Apache-2.0
"""Examples from a user's own questions and answers about images: one JSON object a line.

In the style of visual question answering:

    {"image": "a.jpg", "question": "Is the door open?", "answer": "Yes, it is open."}

or grounded, where `<k>` stands for the k-th box, left, top, right, bottom in pixels:

    {"image": "a.jpg", "question": "Where is the forklift?",
     "answer": "The forklift <1> is on the left.", "boxes": [[12, 40, 210, 300]]}

`"truth"` may add what a right answer says, by the names of `Truth`, and `"family"` what kind of
question it is.
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
from mrmllm_ros.datasets.targets import MATCH_IOU, box_iou
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Detector
from mrmllm_ros.detection.images import ImageError, read_image
from mrmllm_ros.model.prompt import CITATION
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
        where: The file and the number of the line, for messages.
        image: The image file.
        question: The question; empty asks for a description.
        answer: Its answer, with `<k>` for the k-th box.
        boxes: (B, 4) float32, left, top, right, bottom in pixels, or None in the style without.
        truth: What a right answer says, but for what it cites.
        family: What kind of question it is.
    """

    where: str
    image: Path
    question: str
    answer: str
    boxes: np.ndarray | None
    truth: Truth
    family: str


def question_examples(
    asked: Sequence[QuestionRecord],
    detector: Detector,
    encoder: VisualEncoder | None,
    *,
    max_questions: int = 16,
    progress: Callable[[str], None] | None = None,
    skipped: Skipped | None = None,
) -> Iterator[Example]:
    """Make examples of images, with the questions about them.

    An answer cites what the detector reports: of each box the object that overlaps it best, by
    half or more. A citation without one is left out; where the citation is the answer
    (`cites_answer`), so is the question.

    Args:
        asked: The questions, as `read_questions` gives them.
        detector: Finds the candidates.
        encoder: Gives the tokens `V_m`, unless it is None.
        max_questions: Most questions of one example; an image with more gives several.
        progress: Told at the end how many citations were left out, if any were.
        skipped: Gets the questions about images that cannot be decoded, and those with a box
            outside of their image, beside those that `read_questions` has skipped; closed at the
            end.

    Yields:
        Examples without targets, with features and tokens in half precision in main memory, image
        by image in the order of their first lines.

    Raises:
        DataError: If more than half of all questions are skipped.
    """
    left_out = _LeftOut()
    skipped = skipped or Skipped("questions")
    total = len(asked) + skipped.count
    for batch in batches(_readable(_by_image(asked), skipped)):
        found = compute_candidates([image for _, image in batch], detector, encoder)
        for (questions, _), perceived in zip(batch, found, strict=True):
            fitting = _fitting(questions, perceived.perception.detections, skipped)
            yield from _image_examples(fitting, perceived, max_questions, left_out)
    skipped.close(total)
    if progress is not None and left_out.citations:
        progress(left_out.report())


def read_questions(file: Path, skipped: Skipped | None = None) -> tuple[QuestionRecord, ...]:
    """Read and check a file; of the images only whether they are there. Blank lines are skipped.

    Args:
        file: Text file with a JSON object in each line; its image paths are relative to it.
        skipped: Gets the questions about images that are not there.

    Raises:
        DataError: If the file is missing, a line is wrong, there are none, or the images of more
            than half of the questions are missing.
    """
    lines = read_text(file).split("\n")
    numbered = [(f"{file}, line {n}", line) for n, line in enumerate(lines, start=1)]
    asked = [
        _question(_parse(line, where), where, file.parent)
        for where, line in numbered
        if line.strip()
    ]
    if not asked:
        raise DataError(f'{file} holds no questions; write one {{"image": …}} object a line')
    skipped = skipped or Skipped("questions")
    kept = []
    for item in asked:
        if os.path.isfile(item.image):
            kept.append(item)
        else:
            skipped.add(
                f"{item.where}: there is no image {item.image}; give its path relative to "
                f"{file.parent}"
            )
    skipped.check_majority(len(asked))
    return tuple(kept)


def _parse(line: str, where: str) -> Mapping[str, Any]:
    try:
        values = parse_json(line)
    except ValueError as error:
        # Its own line number is that within this line.
        is_syntax = isinstance(error, json.JSONDecodeError)
        fault = f"{error.msg}, column {error.colno}" if is_syntax else error
        raise DataError(f"{where} is not JSON: {fault}; write one object a line") from error
    if not isinstance(values, dict):
        raise DataError(f"{where} is not an object; write {{...}} with {', '.join(_FIELDS[:3])}")
    if unknown := sorted(set(values) - set(_FIELDS)):
        raise DataError(
            f"{where} has the unknown {', '.join(unknown)}; known are {', '.join(_FIELDS)}"
        )
    return values


def _question(values: Mapping[str, Any], where: str, folder: Path) -> QuestionRecord:
    image = folder / _text(values, "image", where)
    answer = _text(values, "answer", where)
    boxes = _boxes(values["boxes"], where) if "boxes" in values else None
    _check_citations(answer, 0 if boxes is None else len(boxes), where)
    truth = _truth(values.get("truth", {}), where)
    if truth.cites_answer and not _PLACEHOLDER.search(answer):
        raise DataError(
            f'{where}: "cites_answer" needs an answer that cites; write <k> and put the box into '
            '"boxes"'
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
        raise DataError(f'{where} has the {field} {value!r}; "{field}" must be a text')
    if not is_unicode(value):
        raise DataError(f"{where} has the {field} {value!r}, with half of a character; remove it")
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
                f"{where}: box {number} is {box!r}, shares of the image; it must be {_BOX}"
            )
    return np.array(value, np.float32).reshape(-1, 4)


def _is_box(value: Any) -> bool:
    return is_pixel_list(value, 4) and value[0] < value[2] and value[1] < value[3]


def _check_citations(answer: str, count: int, where: str) -> None:
    for number in map(int, _PLACEHOLDER.findall(answer)):
        if not 1 <= number <= count:
            raise DataError(
                f'{where}: the answer cites <{number}>, but "boxes" has {count}; <k> stands for '
                "the k-th box"
            )
    if found := CITATION.search(answer):
        raise DataError(
            f"{where}: the answer holds {found[0]}, whose number is the detector's to give; "
            'write <k> and put the box into "boxes"'
        )


def _truth(values: Any, where: str) -> Truth:
    if not isinstance(values, dict):
        raise DataError(f'{where} has the truth {values!r}; "truth" must be an object')
    if unknown := sorted(set(values) - set(_TRUTH_TYPES)):
        raise DataError(
            f"{where}: the truth has the unknown {', '.join(unknown)}; known are "
            f"{', '.join(_TRUTH_TYPES)}"
        )
    for name, value in values.items():
        if not _is_of_type(value, _TRUTH_TYPES[name]):
            wanted = {bool: "true or false", int: "a whole number", list: "a list of texts"}
            raise DataError(
                f"{where}: the truth has {name} {value!r}; it must be {wanted[_TRUTH_TYPES[name]]}"
            )
    words = {name: frozenset(value) for name, value in values.items() if isinstance(value, list)}
    if "mentions" in words:
        words["among"] = words["mentions"] | words.get("among", frozenset())
    return Truth(**{**values, **words})


def _is_of_type(value: Any, wanted: type) -> bool:
    # By `type`, or true would count as a number.
    if type(value) is not wanted:
        return False
    return wanted is not list or all(isinstance(word, str) for word in value)


@dataclass
class _LeftOut:
    """How many citations and questions could not be kept."""

    cited: int = 0
    citations: int = 0
    questions: int = 0

    def report(self) -> str:
        text = (
            f"{self.citations} of {self.cited} citations left out, the detector reports "
            "no object in their boxes"
        )
        return f"{text}; {self.questions} questions with them" if self.questions else text


def _by_image(asked: Sequence[QuestionRecord]) -> dict[Path, list[QuestionRecord]]:
    groups: dict[Path, list[QuestionRecord]] = {}
    for item in asked:
        groups.setdefault(item.image, []).append(item)
    return groups


def _readable(
    by_image: Mapping[Path, list[QuestionRecord]], skipped: Skipped
) -> Iterator[tuple[list[QuestionRecord], np.ndarray]]:
    """The questions about each image that can be decoded, and the image."""
    for path, questions in by_image.items():
        try:
            image = read_image(path)
        except ImageError as error:
            skipped.add(f"{questions[0].where}: {error}", len(questions))
            continue
        yield questions, image


def _fitting(
    asked: Sequence[QuestionRecord], reported: Detections, skipped: Skipped
) -> list[QuestionRecord]:
    """The questions whose boxes lie in their image."""
    width, height = reported.resolution_wh
    fitting = []
    for item in asked:
        boxes = np.zeros((0, 4)) if item.boxes is None else item.boxes
        # A box may end between pixels.
        outside = ((boxes < -1) | (boxes > np.array([width, height] * 2) + 1)).any(axis=1)
        if outside.any():
            number = int(outside.argmax()) + 1
            skipped.add(
                f"{item.where}: box {number} is {boxes[number - 1].tolist()}, outside of the "
                f"image of {width} x {height} pixels; it must be {_BOX}"
            )
        else:
            fitting.append(item)
    return fitting


def _image_examples(
    asked: Sequence[QuestionRecord], perceived: Example, most: int, left_out: _LeftOut
) -> Iterator[Example]:
    scene, reported = half_precision(perceived), perceived.perception.detections
    made = [_grounded(item, reported, left_out) for item in asked]
    kept = [item for item in made if item is not None]
    for start in range(0, len(kept), most):
        yield replace(scene, questions=tuple(kept[start : start + most]))


def _grounded(
    item: QuestionRecord, reported: Detections, left_out: _LeftOut
) -> QuestionAnswer | None:
    """The question with the ids of objects for its boxes."""
    ids = {} if item.boxes is None else _ids(item.boxes, reported)
    numbers = [int(number) for number in _PLACEHOLDER.findall(item.answer)]
    missing = sum(number not in ids for number in numbers)
    left_out.cited += len(numbers)
    left_out.citations += missing
    if missing and item.truth.cites_answer:
        left_out.questions += 1
        return None
    cited = frozenset(ids[number] for number in numbers if number in ids)
    return QuestionAnswer(
        question=item.question,
        answer=_cite(item.answer, ids),
        family=item.family,
        truth=replace(item.truth, cited=None if item.boxes is None else cited),
    )


def _cite(answer: str, ids: Mapping[int, int]) -> str:
    """Put `[id]` for `<k>`; where there is none, nothing and no blank before it."""

    def citation(match: re.Match[str]) -> str:
        number = int(match[2])
        return f"{match[1]}[{ids[number]}]" if number in ids else ""

    return re.sub(rf"(\s*){_PLACEHOLDER.pattern}", citation, answer).strip()


def _ids(boxes: np.ndarray, reported: Detections) -> dict[int, int]:
    """Of each box, by its number, the id of the object in it; none for two, best pairs first."""
    overlaps = box_iou(boxes, reported.xyxy)
    ids: dict[int, int] = {}
    while overlaps.size and overlaps.max() >= MATCH_IOU:
        box, found = np.unravel_index(overlaps.argmax(), overlaps.shape)
        ids[int(box) + 1] = int(found) + 1
        overlaps[box], overlaps[:, found] = 0, 0
    return ids
