# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import QuestionRequest
from mrmllm_ros.engine.request_validation import check_labels, check_request


@pytest.mark.parametrize("text", ["", "x" * 20, "two\nlines\tand a tab", "¿Dónde está? 猫 👩‍🚒"])
def test_a_question_of_any_language_may_be_asked(text):
    check_request(QuestionRequest(text), max_length=20)


@pytest.mark.parametrize("character", ["\0", "\a", "\r", "\x1b", "\x7f", "\x9b"])
def test_a_question_with_a_control_character_is_rejected_with_its_name(character):
    with pytest.raises(QueryError, match=f"U\\+{ord(character):04X}; remove it") as error:
        check_request(QuestionRequest(f"what{character}"), max_length=20)
    assert error.value.code is ErrorCode.INVALID_REQUEST


def test_a_question_that_is_too_long_is_rejected_with_the_parameter_that_bounds_it():
    with pytest.raises(QueryError, match=r"21 characters.*20.*question\.max_length") as error:
        check_request(QuestionRequest("x" * 21), max_length=20)
    assert error.value.code is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("labels", [[], ["forklift"], ["traffic light", "boîte"], ["x" * 100]])
def test_labels_of_any_language_may_be_set(labels):
    check_labels(labels)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["box", "x" * 101], "has 101 characters; the maximum is 100"),
        (["box", "cat\n[2] dog"], r"U\+000A"),
        (["cat\tdog"], r"U\+0009"),
        (["\x1b[2J"], r"U\+001B"),
        (["box"] * 2001, "2001 labels; the maximum is 2000"),
    ],
)
def test_invalid_labels_are_rejected_with_the_reason(labels, reason):
    with pytest.raises(QueryError, match=reason) as error:
        check_labels(labels)
    assert error.value.code is ErrorCode.INVALID_REQUEST
    assert "\x1b" not in error.value.message


@pytest.mark.parametrize("context", ["", "a hospital corridor", "ein Büro", "x" * 200])
def test_a_printable_context_may_be_given(context):
    check_request(QuestionRequest("?", context=context), max_length=20)


@pytest.mark.parametrize(
    ("context", "reason"), [("x" * 201, "201 characters"), ("a\tb", r"U\+0009; remove it")]
)
def test_an_invalid_context_is_rejected_with_the_reason(context, reason):
    with pytest.raises(QueryError, match=reason) as error:
        check_request(QuestionRequest("?", context=context), max_length=20)
    assert error.value.code is ErrorCode.INVALID_REQUEST
