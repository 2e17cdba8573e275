# SPDX-License-Identifier: Apache-2.0
import pytest
from rendered_fixtures import rendered

from mrmllm_ros.datasets.example import QuestionAnswer, Truth
from mrmllm_ros.evaluation.rendered_questions import rendered_questions, with_listed_ids
from mrmllm_ros.evaluation.rendered_scenes import RenderedScenes
from mrmllm_ros.evaluation.scoring import is_right
from mrmllm_ros.model.citations import cited_ids

RED, BLUE, GREEN = (10, 10, 110, 110), (200, 200, 260, 260), (400, 300, 440, 340)


@pytest.fixture
def scenes(write_scenes):
    objects = [
        rendered("cup", BLUE, "blue", distance=1.0),
        rendered("couch", RED, "red", distance=3.0),
        rendered("cup", GREEN, "green", distance=4.0),
        rendered("fork", (600, 400, 604, 404), "red", ignore=1),
    ]
    office = [rendered("dog", RED, "red")]
    return RenderedScenes.read(write_scenes((objects, {}), (office, {}), ([], {})))


def test_questions_are_about_the_rendered_objects(scenes):
    first, second, empty = rendered_questions(scenes, ["zebra"], count=30)
    assert len(first) == 30
    families = {item.family for item in first}
    assert {"existence", "count", "attribute", "position", "which", "nearest"} <= families
    assert "distance" not in families
    for items in (first, second, empty):
        for item in items:
            assert is_right(item.answer, item.truth, cited_ids(item.answer)), item
    # Objects are numbered as a prompt lists them, the largest first.
    [nearest] = [x for x in first if x.family == "nearest" and x.truth.cites_answer][:1]
    assert nearest.truth.cited <= {1, 2, 3}
    assert not [x for x in first if x.truth.polarity is False and "fork" in x.question]
    assert [x for x in empty if x.truth.polarity is False]


def test_questions_are_the_same_each_time(scenes):
    assert rendered_questions(scenes) == rendered_questions(scenes)
    assert max(map(len, rendered_questions(scenes, count=2))) == 2


def test_an_answer_that_names_an_absent_object_is_wrong(scenes):
    asked = [x for items in rendered_questions(scenes, ["zebra"], 40) for x in items]
    sides = [x for x in asked if x.family == "position" and x.truth.among >= {"dog", "zebra"}]
    assert sides
    for item in sides:
        assert not is_right(f"{item.answer} And a zebra.", item.truth, ())


def test_ids_are_those_of_the_listed_objects(scenes, make_detections):
    listed = make_detections(("vase", 0.5, GREEN), ("couch", 0.9, RED), ("dog", 0.9, (0, 0, 9, 9)))
    truth = Truth(cited=frozenset([1, 2, 3]), pairs=frozenset([(3, "green"), (2, "blue")]))
    items = [
        QuestionAnswer(question="", answer="", family="", truth=each) for each in (truth, Truth())
    ]
    image = scenes.images[0]
    first, second = (item.truth for item in with_listed_ids(items, image, listed))
    # The couch is 2, the green cup is 1, and the blue cup is missed.
    assert first.cited == {2, 1, -2}
    assert first.pairs == {(1, "green"), (-2, "blue")}
    assert second == Truth()


def test_no_citation_of_a_missed_object_is_right(scenes, make_detections):
    truth = Truth(cited=frozenset([2]), cites_answer=True)
    item = QuestionAnswer(question="", answer="", family="which", truth=truth)
    [asked] = with_listed_ids([item], scenes.images[0], make_detections())
    for answer in ("It is [2].", "It is [0].", "It is [1].", "I do not see it."):
        assert not is_right(answer, asked.truth, cited_ids(answer))
