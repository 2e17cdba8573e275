# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import About, AnswerType

ROOT = Path(__file__).parents[2]


def constants(text):
    found = re.findall(r"^uint8 (\w+) = (\d+)$", text, re.MULTILINE)
    return {name: int(value) for name, value in found}


def test_the_codes_are_the_constants_of_the_service():
    text = (ROOT / "srv" / "Query.srv").read_text()
    assert {code.name: code.value for code in ErrorCode} == constants(text)


@pytest.mark.parametrize(("kind", "field"), [(AnswerType, "answer_type"), (About, "about")])
def test_answer_types_and_subjects_are_the_constants_of_the_answer(kind, field):
    text = (ROOT / "msg" / "Answer.msg").read_text()
    _, block = text.split(f"# Values of `{field}`")
    assert {member.name: member.value for member in kind} == constants(block.split("\n\n")[0])


def test_constants_of_answers_are_defined_once():
    names = {member.name for kind in (AnswerType, About) for member in kind}
    for file in ("srv/Query.srv", "action/Ask.action"):
        assert not names & set(constants((ROOT / file).read_text()))


def test_the_service_and_the_action_document_the_same_request():
    service = (ROOT / "srv" / "Query.srv").read_text().split("\n---\n")[0]
    action = (ROOT / "action" / "Ask.action").read_text().split("\n---\n")[0]
    first = "# Empty asks for a description of the scene.\n"
    assert service[service.index(first) :] == action[action.index(first) :]


@pytest.mark.parametrize("code", ErrorCode)
def test_an_error_holds_its_code_and_message(code):
    error = QueryError(code, "ask again")
    assert (error.code, error.message, str(error)) == (code, "ask again", "ask again")
