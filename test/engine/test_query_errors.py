# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

from mrmllm_ros.engine.query_errors import ErrorCode, QueryError

SERVICE = Path(__file__).parents[2] / "srv" / "Query.srv"


def test_the_codes_are_the_constants_of_the_service():
    constants = re.findall(r"^uint8 (\w+) = (\d+)$", SERVICE.read_text(), re.MULTILINE)
    assert {code.name: code.value for code in ErrorCode} == {
        name: int(value) for name, value in constants
    }


@pytest.mark.parametrize("code", ErrorCode)
def test_an_error_holds_its_code_and_message(code):
    error = QueryError(code, "ask again")
    assert (error.code, error.message, str(error)) == (code, "ask again", "ask again")
