# SPDX-License-Identifier: Apache-2.0
"""Questions about scenes whose annotation says more than the list of detections."""

from dataclasses import replace

import numpy as np
import pytest

from mrmllm_ros.datasets.questions import templates
from mrmllm_ros.datasets.questions.families import ALL_FAMILIES, FAMILIES
from mrmllm_ros.datasets.questions.question_sampler import ask
from mrmllm_ros.datasets.questions.scene import Annotation, Scene, UnlistedObject
from mrmllm_ros.datasets.questions.vocabulary import TRAIN_NOUNS
from mrmllm_ros.evaluation.scoring import is_right
from mrmllm_ros.model.citations import cited_ids

KETTLE = UnlistedObject(label="kettle", box=np.array([0.6, 0.4, 0.7, 0.6]))
# The fourth listed object, the largest, is not there.
KITCHEN = Scene(
    labels=("oven", "chair", "bowl", ""),
    boxes=np.array(
        [
            [0.10, 0.20, 0.40, 0.70],
            [0.70, 0.50, 0.95, 0.80],
            [0.45, 0.30, 0.55, 0.35],
            [0.00, 0.00, 1.00, 0.95],
        ]
    ),
    attributes=({"color": "white"}, {"color": "brown"}, {"color": "red"}, {"color": "gray"}),
    annotation=Annotation(
        occlusion=np.array([0.0, 0.6, 0.2, np.nan]),
        unlisted=(KETTLE,),
        wrong=("person",),
        place="kitchen",
    ),
)


@pytest.fixture(scope="module", autouse=True)
def few_templates():
    few = {name: replace(w, train=w.train[:3]) for name, w in templates.TEMPLATES.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "TEMPLATES", few)
        yield


def questions(scene, draws=300, count=40, **options):
    return {
        item.question: item
        for seed in range(draws)
        for item in ask(scene, np.random.default_rng(seed), count, "train", TRAIN_NOUNS, **options)
    }


def with_annotation(**values):
    return replace(KITCHEN, annotation=replace(KITCHEN.annotation, **values))


@pytest.fixture(scope="module")
def kitchen():
    return questions(KITCHEN)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is the chair partly hidden?", "The chair [2] is partly hidden, so yes."),
        ("Is the oven partly hidden?", "The oven [1] is in full view, so no."),
        ("Is all of the oven visible?", "The oven [1] is in full view, so yes."),
        ("Is all of the chair visible?", "The chair [2] is partly hidden, so no."),
        (
            "Which is partly hidden, the oven or the chair?",
            "The hidden one is the chair [2].",
        ),
        ("What do you see?", "I see an oven [1], a chair [2] and a bowl [3]."),
        ("What is the largest thing?", "The largest is the oven [1]."),
        ("How many chairs are there?", "I see one chair [2]."),
        ("Is there a person?", "No, I do not see a person."),
        ("What is in the middle?", "In the middle I see [3], a bowl."),
    ],
)
def test_answers_follow_from_the_truth(kitchen, question, answer):
    item = kitchen[question]
    assert item.answer == answer
    assert is_right(answer, item.truth, cited_ids(answer))


def test_objects_that_are_hidden_a_little_are_not_asked_about(kitchen):
    hidden = [question for question, x in kitchen.items() if x.family == "occlusion"]
    assert hidden
    assert not [question for question in hidden if "bowl" in question]


def test_wrong_detections_are_neither_cited_nor_counted(kitchen):
    assert not [x for x in kitchen.values() if 4 in cited_ids(x.answer)]


def test_labels_that_the_detector_reports_wrongly_are_denied_more_often():
    def share(scene):
        denied = [
            "person" in item.answer
            for seed in range(300)
            for item in ask(scene, np.random.default_rng(seed), 12, "train", TRAIN_NOUNS)
            if item.answer.startswith("No, I do not see")
        ]
        return np.mean(denied)

    assert share(KITCHEN) > 2 * share(with_annotation(wrong=()))


def test_unlisted_objects_are_never_denied_or_counted(kitchen):
    assert not [x for x in kitchen.values() if "kettle" in x.question]
    two = with_annotation(unlisted=(replace(KETTLE, label="chair"),))
    asked = questions(two, draws=60)
    counts = [x for q, x in asked.items() if x.truth.number is not None and "chair" in q]
    assert not counts
    assert asked["Is there a chair?"].answer == "Yes, I see a chair [2]."


def test_a_larger_or_nearer_unlisted_object_leaves_no_extreme():
    large = replace(KETTLE, box=np.array([0.0, 0.0, 0.9, 0.9]))
    asked = questions(with_annotation(unlisted=(large,)), draws=100)
    assert "What is the largest thing?" not in asked
    assert "What is nearest to you?" not in asked
    near = with_annotation(unlisted=(replace(KETTLE, meters=1.0),))
    asked = questions(replace(near, meters=np.array([2.0, 3.0, 4.0, 1.5])), draws=100)
    assert "What is nearest to you?" not in asked
    assert asked["What is farthest?"].answer == "The farthest is [3], the bowl."
    unknown = replace(KITCHEN, meters=np.array([2.0, 3.0, 4.0, 1.5]))
    assert "What is farthest?" not in questions(unknown, draws=100)


def test_missed_objects_and_places_are_asked_about_on_request_only(kitchen):
    families = {x.family for x in kitchen.values()}
    assert {"missed", "place"}.isdisjoint(families)
    assert "occlusion" in families
    asked = questions(KITCHEN, draws=60, shares={"missed": 0.2, "place": 0.2})
    missed = asked["Is there a kettle?"]
    assert missed.answer == "Yes, I see a kettle."
    assert (missed.truth.polarity, missed.truth.cited) == (True, frozenset())
    place = asked["What room is this?"]
    assert place.answer == "This is a kitchen."
    assert is_right("A kitchen.", place.truth, ())
    assert not is_right("This is an office.", place.truth, ())
    assert asked["Is this a kitchen?"].answer == "This is a kitchen, so yes."
    assert asked["Is this an office?"].answer == "This is a kitchen, so no."


def test_places_that_are_no_rooms_are_not_asked_about():
    asked = questions(with_annotation(place="outdoors"), draws=20, shares={"place": 0.5})
    assert not [x for x in asked.values() if x.family == "place"]


def test_questions_on_request_have_their_share():
    asked = [
        item.family
        for seed in range(200)
        for item in ask(
            KITCHEN, np.random.default_rng(seed), 8, "train", TRAIN_NOUNS, shares={"place": 0.25}
        )
    ]
    assert asked.count("place") / len(asked) == pytest.approx(0.25, abs=0.04)


def test_missed_objects_need_a_size_and_a_label_that_is_not_listed():
    tiny = replace(KETTLE, box=np.array([0.5, 0.5, 0.52, 0.52]))
    listed = replace(KETTLE, label="chair")
    scene = with_annotation(unlisted=(tiny, listed))
    asked = questions(scene, draws=20, shares={"missed": 1.0})
    assert not [x for x in asked.values() if x.family == "missed"]


def test_a_missed_object_that_the_prompt_calls_doubtful_is_perhaps_there():
    seen = replace(KETTLE, is_doubtful=True)
    scene = replace(with_annotation(unlisted=(seen,)), doubtful={5: "kettle"})
    asked = questions(scene, draws=100, shares={"missed": 0.3})
    assert "a kettle [5]" in asked["Is there a kettle?"].answer
    assert "perhaps" in asked["Is there a kettle?"].answer.lower()
    assert asked["How many kettles are there?"].answer == "Perhaps one kettle [5]."
    assert not [x for x in asked.values() if x.family == "missed"]


def test_doubtful_objects_are_not_counted_where_another_one_is_missed():
    scene = replace(KITCHEN, doubtful={5: "kettle"})
    asked = questions(scene, draws=100)
    assert "How many kettles are there?" not in asked
    assert "perhaps" in asked["Is there a kettle?"].answer.lower()


def test_scenes_without_an_annotation_are_asked_about_as_before():
    scene = replace(KITCHEN, labels=("oven", "chair", "bowl", "sink"), annotation=None)
    asked = questions(scene, draws=40, shares={"missed": 0.5, "place": 0.5})
    assert {x.family for x in asked.values()} <= {*FAMILIES}
    plain = ask(scene, np.random.default_rng(3), 9, "train", TRAIN_NOUNS)
    assert plain == ask(
        scene, np.random.default_rng(3), 9, "train", TRAIN_NOUNS, shares={"place": 0.0}
    )


def test_every_family_is_asked_of_annotated_scenes_of_evaluation():
    shares = {"missed": 0.2, "place": 0.2}
    families = {
        item.family
        for seed in range(20)
        for item in ask(
            KITCHEN, np.random.default_rng(seed), 40, "evaluation", TRAIN_NOUNS, shares=shares
        )
    }
    # No label has several objects.
    assert {*ALL_FAMILIES} - families == {"which"}


def test_an_annotation_of_another_length_is_rejected():
    with pytest.raises(ValueError, match="4 labels, but occlusion of shape"):
        with_annotation(occlusion=np.zeros(3))
