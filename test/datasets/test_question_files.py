# SPDX-License-Identifier: Apache-2.0
import json
import re

import cv2
import numpy as np
import pytest
import torch

from mrmllm_ros.datasets.data_errors import DataError, Skipped
from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.question_files import question_examples, read_questions

VQA = {"image": "images/street.png", "question": "Is it raining?", "answer": "No, it is dry."}
GROUNDED = {
    "image": "images/street.png",
    "question": "Where is the bus?",
    "answer": "The bus <1> is in the middle.",
    "boxes": [[10, 115, 400, 380]],
}
NOWHERE = [0, 0, 30, 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, bus_image):
    folder = tmp_path_factory.mktemp("robot")
    (folder / "images").mkdir()
    street = cv2.resize(bus_image, (405, 540), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "images" / "street.png"), street)
    cv2.imwrite(str(folder / "gray.png"), np.full((120, 160, 3), 128, np.uint8))
    return folder


@pytest.fixture
def write(folder):
    def write(*lines):
        path = folder / "questions.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts) + "\n")
        return path

    return write


@pytest.fixture(scope="module")
def reported(folder, detector):
    """What is reported of the street."""
    street = cv2.imread(str(folder / "images" / "street.png"))
    return detector.detect([street])[0].detections


@pytest.fixture
def ask(write, detector):
    """The questions of a file, and the progress lines."""

    def ask(*lines, **options):
        progress = []
        made = question_examples(
            read_questions(write(*lines)), detector, None, progress=progress.append, **options
        )
        return [item for example in made for item in example.questions], progress

    return ask


class TestReading:
    def test_lines_are_read_and_blank_ones_skipped(self, write, folder):
        plain, grounded = read_questions(write(VQA, "", GROUNDED, "  "))
        assert plain.image == folder / "images" / "street.png"
        assert (plain.question, plain.answer) == ("Is it raining?", "No, it is dry.")
        assert (plain.boxes, plain.truth, plain.family) == (None, Truth(), "user")
        assert grounded.boxes.tolist() == [[10, 115, 400, 380]]
        assert grounded.where.endswith("questions.jsonl, line 3")

    def test_a_truth_is_read(self, write):
        truth = {"number": 2, "mentions": ["left"], "among": ["left", "right"]}
        [item] = read_questions(write({**VQA, "truth": truth, "family": "count"}))
        assert item.truth == Truth(
            number=2, mentions=frozenset(["left"]), among=frozenset(["left", "right"])
        )
        assert item.family == "count"

    def test_mentions_are_added_to_among(self, write):
        [item] = read_questions(write({**VQA, "truth": {"mentions": ["bus"]}}))
        assert item.truth.among == {"bus"}

    def test_an_empty_question_asks_for_a_description(self, write):
        [item] = read_questions(write({**VQA, "question": ""}))
        assert item.question == ""

    def test_a_byte_order_mark_is_skipped(self, write):
        path = write(VQA)
        path.write_text(path.read_text(), encoding="utf-8-sig")
        assert len(read_questions(path)) == 1


class TestErrors:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{", "line 2 is not JSON"),
            ("[]", "line 2 is not an object"),
            ({**VQA, "anwser": "x"}, "line 2 has unknown fields: anwser; use image"),
            ("[" * 100_000, "line 2 is not JSON: .*nested too deeply"),
            ('{"image": ', "line 2 is not JSON: .*column 11"),
            ({**VQA, "answer": "half \ud83d"}, "line 2 has the answer .*lone surrogate"),
            ({**VQA, "answer": " "}, "line 2 has the answer ' '"),
            ({**VQA, "question": None}, "line 2 has the question None"),
            ({**VQA, "answer": "A bus <1>."}, 'cites <1>, but "boxes" has 0'),
            ({**GROUNDED, "answer": "A bus <2>."}, 'cites <2>, but "boxes" has 1'),
            ({**GROUNDED, "answer": "A bus [1]."}, r"contains \[1\].*write <k>"),
            ({**GROUNDED, "boxes": [1, 2, 3, 4]}, r"box 1 is 1; it must be \[left, top, right"),
            ({**GROUNDED, "boxes": [[9, 9, 5, 20]]}, "right and bottom the larger"),
            ({**GROUNDED, "boxes": [[9, 9, 20]]}, r"box 1 is \[9, 9, 20\]"),
            ({**GROUNDED, "boxes": [[0.1, 0.1, 0.5, 0.9]]}, "which is normalized; .* in pixels"),
            ({**GROUNDED, "boxes": None}, '"boxes" must be a list'),
            (
                {**VQA, "truth": {"cites_answer": True}},
                '"cites_answer" needs a citation in the answer',
            ),
            ({**VQA, "truth": 3}, '"truth" must be an object'),
            ({**VQA, "truth": {"color": "red"}}, "unknown fields: color; use polarity"),
            ({**VQA, "truth": {"number": True}}, "number True; it must be a whole number"),
            ({**VQA, "truth": {"among": [3]}}, "it must be a list of texts"),
        ],
    )
    def test_a_wrong_line_is_named(self, write, line, message):
        with pytest.raises(DataError, match=message):
            read_questions(write(VQA, line))

    def test_a_file_without_questions_is_an_error(self, write, tmp_path):
        with pytest.raises(DataError, match="has no questions"):
            read_questions(write(""))
        with pytest.raises(DataError, match=r"cannot read .*none.jsonl: No such file"):
            read_questions(tmp_path / "none.jsonl")

    def test_errors_are_raised_before_the_first_example(self, tmp_path, detector):
        with pytest.raises(DataError):
            question_examples(read_questions(tmp_path / "none.jsonl"), detector, None)

    def test_a_file_with_mostly_unusable_questions_is_an_error(self, write, detector):
        missing = {**VQA, "image": "none.png"}
        with pytest.raises(DataError, match=r"2 of 3 .*half; the first: .*line 1: there is no im"):
            read_questions(write(missing, missing, VQA))
        outside = {**GROUNDED, "boxes": [[10, 115, 390, 600]]}
        asked = read_questions(write(outside))
        message = r"1 of 1 .* line 1: box 1 is .* outside of the image of 405 x 540"
        with pytest.raises(DataError, match=message):
            list(question_examples(asked, detector, None))


class TestSkipping:
    def test_questions_that_cannot_be_used_are_named_and_counted(self, write, folder, detector):
        (folder / "text.png").write_text("no image")
        progress = []
        skipped = Skipped("questions", progress.append)
        lines = [
            {**VQA, "image": "none.png"},
            VQA,
            {**VQA, "image": "text.png"},
            {**VQA, "image": "text.png", "question": "Is it dark?"},
            GROUNDED,
            {**GROUNDED, "boxes": [[10, 115, 390, 600]]},
            *[{**VQA, "question": f"Is this {n}?"} for n in range(2)],
        ]
        asked = read_questions(write(*lines), skipped)
        made = question_examples(asked, detector, None, skipped=skipped)
        questions = [item.question for example in made for item in example.questions]
        assert questions == ["Is it raining?", "Where is the bus?", "Is this 0?", "Is this 1?"]
        missing, unreadable, outside, counted = progress
        assert re.search(r"line 1: there is no image .*none.png; .* relative", missing)
        assert re.search(r"line 3: cannot read the image .*text.png", unreadable)
        assert re.search(r"line 6: box 1 is .* outside of the image of 405 x 540", outside)
        assert counted == "4 of 8 questions cannot be used and are skipped"


class TestExamples:
    def test_questions_about_one_image_form_one_example(self, write, detector):
        gray = {**VQA, "image": "gray.png"}
        street, other = question_examples(
            read_questions(write(VQA, gray, GROUNDED)), detector, None
        )
        assert [item.question for item in street.questions] == [
            "Is it raining?",
            "Where is the bus?",
        ]
        assert len(other.questions) == 1
        assert street.targets is None
        assert street.visual is None
        assert street.perception.features.dtype == torch.float16
        assert len(street.attributes) == len(street.perception.candidates)

    def test_many_questions_form_several_examples(self, write, detector):
        lines = [{**VQA, "question": f"Is this {n}?"} for n in range(5)]
        made = question_examples(read_questions(write(*lines)), detector, None, max_questions=2)
        assert [len(example.questions) for example in made] == [2, 2, 1]

    def test_boxes_become_ids_of_detections(self, ask, reported):
        [item], progress = ask(GROUNDED)
        i = reported.labels.index("bus") + 1
        assert item.answer == f"The bus [{i}] is in the middle."
        assert item.truth.cited == {i}
        assert progress == []

    def test_boxes_and_objects_match_one_to_one(self, ask, reported):
        boxes = (reported.xyxy[::-1] + 1).clip(0, 404).tolist()
        cited = "".join(f"<{k}>" for k in range(1, len(boxes) + 1))
        [item], _ = ask({**GROUNDED, "answer": f"I see {cited}.", "boxes": boxes})
        ids = "".join(f"[{i}]" for i in range(len(boxes), 0, -1))
        assert item.answer == f"I see {ids}."

        twice = [reported.xyxy[0].tolist()] * 2
        [item], progress = ask({**GROUNDED, "answer": "Both <1><2>.", "boxes": twice})
        assert item.answer == "Both [1]."
        assert len(progress) == 1

    def test_a_citation_of_an_unreported_object_is_removed(self, ask, reported):
        line = {**GROUNDED, "answer": "A sign <2> is behind the bus <1>."}
        [item], progress = ask({**line, "boxes": [*GROUNDED["boxes"], NOWHERE]})
        i = reported.labels.index("bus") + 1
        assert item.answer == f"A sign is behind the bus [{i}]."
        assert item.truth.cited == {i}
        [text] = progress
        assert "1 of 2 citations removed" in text

    def test_a_question_whose_answer_is_a_removed_citation_is_removed(self, ask):
        line = {**GROUNDED, "boxes": [NOWHERE], "truth": {"cites_answer": True}}
        items, [text] = ask(VQA, line)
        assert [item.question for item in items] == ["Is it raining?"]
        assert text.endswith("1 questions removed with them")

    def test_without_boxes_citations_are_not_judged(self, ask):
        [item], _ = ask({**VQA, "truth": {"polarity": False}})
        assert item.truth == Truth(polarity=False)
        assert item.family == "user"

    def test_with_boxes_and_no_citation_none_is_right(self, ask):
        [item], _ = ask({**GROUNDED, "answer": "I see no dog.", "boxes": []})
        assert item.truth.cited == frozenset()
