# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.datasets.questions.templates import TEMPLATES, Templates, british, fill


def test_every_question_has_templates_for_both_splits():
    for name, templates in TEMPLATES.items():
        assert len(templates.train) >= 6, name
        assert len(templates.evaluation) >= 2, name


def test_templates_of_evaluation_are_never_trained():
    trained = {text.lower().rstrip("?.") for w in TEMPLATES.values() for text in w.train}
    kept = {text.lower().rstrip("?.") for w in TEMPLATES.values() for text in w.evaluation}
    assert not trained & kept


def test_there_are_many_unanswerable_templates():
    without = [w for name, w in TEMPLATES.items() if name.startswith("unanswerable")]
    assert sum(len(w.train) for w in without) >= 25
    assert sum(len(w.evaluation) for w in without) >= 8


def test_fields_are_filled_in():
    assert fill("existence", "train", 0.0, {"a_x": "an owl"}) == "Is there an owl?"


def test_an_unknown_field_or_a_missing_split_is_rejected():
    with pytest.raises(ValueError, match="unknown fields"):
        Templates(("Is there {z}?",), ("{a_x}?",))
    with pytest.raises(ValueError, match="both splits"):
        Templates(("Is there {a_x}?",), ())


def test_british_spelling():
    assert british("What color is the gray car, 3 meters away?") == (
        "What colour is the grey car, 3 metres away?"
    )
