# SPDX-License-Identifier: Apache-2.0
from mrmllm_ros.training.data.wordings import WORDINGS, wording


def test_every_question_has_wordings_for_both_splits():
    for name, wordings in WORDINGS.items():
        assert len(wordings.train) >= 6, name
        assert len(wordings.evaluation) >= 2, name


def test_wordings_of_evaluation_are_never_trained():
    trained = {text.lower().rstrip("?.") for w in WORDINGS.values() for text in w.train}
    kept = {text.lower().rstrip("?.") for w in WORDINGS.values() for text in w.evaluation}
    assert not trained & kept


def test_much_that_cannot_be_told_is_asked():
    without = [w for name, w in WORDINGS.items() if name.startswith("unanswerable")]
    assert sum(len(w.train) for w in without) >= 25
    assert sum(len(w.evaluation) for w in without) >= 8


def test_fields_are_filled_in():
    assert wording("existence", "train", 0.0, {"a_x": "an owl"}) == "Is there an owl?"
