# SPDX-License-Identifier: Apache-2.0
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mrmllm_ros.datasets.questions import templates
from mrmllm_ros.datasets.questions.families import FAMILIES
from mrmllm_ros.datasets.questions.grammar import NUMBERS
from mrmllm_ros.datasets.questions.question_sampler import ask
from mrmllm_ros.datasets.questions.scene import Scene
from mrmllm_ros.datasets.questions.vocabulary import TRAIN_NOUNS
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.evaluation.scoring import is_right
from mrmllm_ros.model.citations import cited_ids
from mrmllm_ros.model.prompt import PromptSettings, describe_objects

OFTEN = [name for name, family in FAMILIES.items() for _ in range(family.extra)]
EMPTY = Scene(labels=(), boxes=np.zeros((0, 4)), attributes=())
YARD = Scene(
    labels=("car", "person", "dog", "person", "door", "car"),
    boxes=np.array(
        [
            [0.40, 0.40, 0.70, 0.60],
            [0.00, 0.20, 0.20, 0.95],
            [0.70, 0.60, 0.90, 0.75],
            [0.75, 0.30, 0.85, 0.55],
            [0.42, 0.05, 0.55, 0.35],
            [0.05, 0.40, 0.20, 0.50],
        ]
    ),
    attributes=(
        {"color": "red"},
        {"color": "black"},
        {"color": "brown"},
        {"color": "red"},
        {"state": "open"},
        {"color": "blue"},
    ),
)


def questions(scene, split="train", draws=40, count=40):
    """Everything asked in many draws, by question."""
    return {
        item.question: item
        for seed in range(draws)
        for item in ask(scene, np.random.default_rng(seed), count, split, TRAIN_NOUNS)
    }


@pytest.fixture(scope="module", autouse=True)
def few_templates():
    """Of all ways to ask the same, so that a few draws show every question."""
    few = {name: replace(w, train=w.train[:5]) for name, w in templates.TEMPLATES.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "TEMPLATES", few)
        yield


@pytest.fixture(scope="module")
def yard():
    return questions(YARD, draws=2500)


def with_distances(*meters):
    return replace(YARD, meters=np.array(meters, float))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is there a dog?", "Yes, I see a dog [3]."),
        ("Is there a person?", "Yes, I see people [2][4]."),
        ("How many cars are there?", "I see two cars [1][6]."),
        ("How many dogs are there?", "I see one dog [3]."),
        ("Where is the dog?", "The dog [3] is on the right."),
        ("Where are the cars?", "The cars are [1] in the middle, [6] on the left."),
        ("Is the dog on the right?", "The dog [3] is on the right, so yes."),
        ("Is the dog on the left?", "The dog [3] is on the right, so no."),
        ("What is in the middle?", "In the middle I see [5][1]: [5] a door, [1] a car."),
        ("What is on the left?", "On the left I see [2][6]: [2] a person, [6] a car."),
        (
            "Is the dog right of the door?",
            "The dog [3] is 80% across and the door [5] 48%: the dog is further right, so yes.",
        ),
        (
            "Is the dog above the door?",
            "The dog [3] is 75% down and the door [5] 35%: the dog is below, so no.",
        ),
        ("What is on the right?", "On the right I see [3][4]: [3] a dog, [4] a person."),
        ("What is the largest thing?", "The largest is the person [2]."),
        ("What is nearest to you?", "The nearest is [2], the person."),
        ("Which car is nearest?", "The nearest is the car [1]."),
        ("How far away is the dog?", "I can't tell how far the dog [3] is."),
        ("What color is the dog?", "The dog [3] is brown."),
        ("What color is the door?", "I can't tell the color of the door [5]."),
        ("What color are the cars?", "The cars are [1] red, [6] blue."),
        ("What color are the people wearing?", "The people wear [2] black, [4] red."),
        ("Is there a red car?", "Yes, I see a red car [1]."),
        ("Are there any people in red?", "Yes, I see a person in red [4]."),
        ("How many blue cars are there?", "I see a blue car [6], one in all."),
        ("Is the door open?", "The door [5] is open, so yes."),
        ("Is the door closed?", "The door [5] is open, so no."),
        ("What do you see?", "I see cars [1][6], people [2][4], a dog [3] and a door [5]."),
        (
            "",
            "I see cars [1][6], people [2][4], a dog [3] on the right and a door [5] in the "
            "middle.",
        ),
        ("Which car is red?", "The car [1] is red."),
        ("Which person is on the left?", "The person [2] is on the left."),
        ("Which car is the biggest?", "The biggest is the car [1]."),
        ("What time is it?", "I can't tell that from what I see."),
    ],
)
def test_answers_follow_from_the_list(yard, question, answer):
    assert yard[question].answer == answer


def test_sizes_are_compared():
    scene = Scene(
        labels=("bus", "cat"),
        boxes=np.array([[0.1, 0.1, 0.6, 0.6], [0.7, 0.7, 0.8, 0.8]]),
        attributes=({}, {}),
    )
    asked = questions(scene, draws=200)
    assert asked["Is the bus bigger than the cat?"].truth.polarity
    smaller = asked["Is the cat bigger than the bus?"]
    assert smaller.answer == "Of the cat [2] and the bus [1], the cat is smaller, so no."
    assert smaller.truth.polarity is False


def test_a_crowd_on_a_side_is_counted_without_stating_all_places():
    boxes = np.array([[x / 10, 0.5, x / 10 + 0.1, 0.9] for x in range(8)])
    crowd = Scene(labels=("person",) * 8, boxes=boxes, attributes=({},) * 8)
    asked = questions(crowd, draws=300)
    counted = asked["How many people are on the left?"]
    assert counted.answer == "On the left I see people [1][2][3], three in all."
    assert counted.truth.number == 3
    described = asked["What is on the left?"].answer
    assert described == "On the left I see [1][2][3]: [1] a person, [2] a person, [3] a person."


def test_one_object_on_a_side_is_named_once_and_none_is_nothing():
    scene = Scene(labels=("dog",), boxes=np.array([[0.1, 0.1, 0.2, 0.2]]), attributes=({},))
    asked = questions(scene, draws=200)
    assert asked["What is on the left?"].answer == "On the left I see [1], a dog."
    assert asked["What is in the middle?"].answer == "In the middle I see nothing."
    assert asked["What is in the middle?"].truth.cited == frozenset()


def test_objects_without_a_distance_are_not_compared_with_others():
    nan = np.nan
    asked = questions(
        replace(with_distances(5, nan, 2.1, nan, nan, 9), attributes=({},) * 6), draws=600
    )
    assert "What is nearest to you?" not in asked
    assert "Which person is nearest?" not in asked
    assert asked["Which car is nearest?"].answer == "The nearest is the car [1]."
    assert asked["How far away is the door?"].truth.unanswerable


@pytest.fixture(scope="module")
def ranged_yard():
    """The yard with distances: cars at 5.0 and 9.0 m, people at 4.0 and 6.0 m, a dog at 2.1 m."""
    return questions(with_distances(5, 4, 2.1, 6, 8, 9), draws=2500)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (
            "How far away is the nearest person?",
            "The people are [2] 4.0 m, [4] 6.0 m away, so the nearest is [2], 4.0 m away.",
        ),
        ("How far is the nearest dog?", "The dog [3] is 2.1 m away."),
        ("How far away is the nearest object?", "The nearest is [3], the dog, 2.1 m away."),
        ("How far away are the people?", "The people are [2] 4.0 m, [4] 6.0 m away."),
        ("How far is the person?", "The people are [2] 4.0 m, [4] 6.0 m away."),
        (
            "Is the door closer than the dog?",
            "The dog [3] is 2.1 m away and the door [5] is 8.0 m away: the door is farther away, "
            "so no.",
        ),
        (
            "Is the dog closer than the person?",
            "The dog [3] is 2.1 m away and the people are [2] 4.0 m, [4] 6.0 m away: the dog is "
            "closer, so yes.",
        ),
        (
            "Is the door farther away than the car?",
            "The cars are [1] 5.0 m, [6] 9.0 m away and the door [5] is 8.0 m away: the door is "
            "farther away, so yes.",
        ),
        (
            "Which is closer, the dog or the door?",
            "The dog [3] is 2.1 m away and the door [5] is 8.0 m away, so the closer is the dog "
            "[3].",
        ),
        ("What is nearest to you?", "The nearest is [3], the dog."),
        ("How far away is the dog?", "The dog [3] is 2.1 m away."),
        ("What is farthest?", "The farthest is [6], the car."),
    ],
)
def test_distances_are_stated_before_they_are_compared(ranged_yard, question, answer):
    item = ranged_yard[question]
    assert item.answer == answer
    assert is_right(answer, item.truth, cited_ids(answer))


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        (r"(?:Is there a person|Are there people|Are there any people) within (.+)\?", "4.0"),
        (r"Is anything (?:within|closer than) (.+)\?", "2.1"),
        (r"Is (?:anybody|anyone) within (.+)\?", "4.0"),
        (r"Is the dog within (.+)\?", "2.1"),
    ],
)
def test_limits_are_compared_with_the_nearest(ranged_yard, pattern, holds):
    verdicts = set()
    for question, item in ranged_yard.items():
        if found := re.fullmatch(pattern, question):
            limit = meters(found[1])
            assert item.truth.polarity == (float(holds) < limit), item
            assert item.answer.startswith(f"Limit {limit:.1f} m: the ")
            assert f"{holds} m" in item.answer
            assert item.answer.endswith(f" away, so {'yes' if item.truth.polarity else 'no'}.")
            verdicts.add(item.truth.polarity)
    assert verdicts == {True, False}


def meters(text):
    """The number of meters in a text such as `three meters` or `50 cm`."""
    number, unit = text.split()
    words = {word: value for value, word in enumerate(NUMBERS)}
    value = float(words.get(number, number))
    return value / 100 if unit in ("cm", "centimeters", "centimeters") else value


def test_objects_within_a_limit_are_counted(ranged_yard):
    counts = set()
    for question, item in ranged_yard.items():
        if found := re.fullmatch(r"How many people are (?:within|closer than) (.+)\?", question):
            limit = meters(found[1])
            assert item.truth.number == sum(far < limit for far in (4.0, 6.0)), item
            assert item.answer.startswith(
                f"Limit {limit:.1f} m: the people are [2] 4.0 m, [4] 6.0 m away, so "
            )
            assert is_right(item.answer, item.truth, cited_ids(item.answer))
            counts.add(item.truth.number)
    assert counts == {0, 1, 2}


def test_without_distances_the_lower_edge_decides(yard):
    asked = yard["Is the dog closer than the door?"]
    assert asked.answer == (
        "The dog [3] is 75% down and the door [5] 35%: the dog is closer, so yes."
    )
    assert yard["How far away is the nearest dog?"].truth.unanswerable


def test_questions_about_small_differences_are_not_asked():
    asked = questions(with_distances(5, 2.1, 2.1, 6, 8, 9), draws=200)
    assert "What is nearest to you?" not in asked
    assert asked["Which car is nearest?"].answer == "The nearest is the car [1]."


@pytest.mark.parametrize("split", ["train", "evaluation"])
@pytest.mark.parametrize("scene", [EMPTY, YARD], ids=["empty", "yard"])
def test_answers_cite_the_objects_of_the_truth(scene, split):
    for item in questions(scene, split, draws=20).values():
        cited = cited_ids(item.answer, range(1, len(scene.labels) + 1))
        assert set(cited) == set(item.truth.cited or ()), item
        assert re.search(r"[{}]|\s\s", item.question + item.answer) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Where is the red car?", "The car [1] is in the middle."),
        ("Where is the person in black?", "The person [2] is on the left."),
        ("Where is the person wearing red?", "The person [4] is on the right."),
        ("Is the dog on the left or on the right?", "The dog [3] is on the right."),
        (
            "Is the dog left or right of the door?",
            "The dog [3] is 80% across and the door [5] 48%: the dog is further right.",
        ),
        (
            "Is the puppy left of the door?",
            "The dog [3] is 80% across and the door [5] 48%: the dog is further right, so no.",
        ),
        ("What color is the person on the left wearing?", "The person [2] wears black."),
        ("Is there a vehicle?", "Yes, I see cars [1][6]."),
        ("How many animals are there?", "I see a dog [3], one in all."),
        (
            "Is there a person on the left?",
            "The people are [2] on the left, [4] on the right, so yes.",
        ),
        (
            "Do you see a car on the right?",
            "The cars are [1] in the middle, [6] on the left, so no.",
        ),
        (
            "How many people are on the right?",
            "The people are [2] on the left, [4] on the right, so one.",
        ),
        (
            "How many cars are there on the right?",
            "The cars are [1] in the middle, [6] on the left, so none.",
        ),
        ("Is anybody there?", "Yes, I see people [2][4]."),
        ("Do you see any pieces of fruit?", "No, I do not see a piece of fruit."),
        ("Who owns the blue car?", "I can't tell that from what I see."),
    ],
)
def test_questions_refer_by_color_side_and_synonym(yard, question, answer):
    assert yard[question].answer == answer


def test_synonyms_fit_no_other_listed_object(yard):
    both = Scene(labels=("person", "man"), boxes=YARD.boxes[:2], attributes=({}, {}))
    asked = questions(both, draws=100)
    assert not any(re.search(r"\b(lady|guy|pedestrian)\b", q) for q in asked)
    assert any(re.search(r"\b(lady|guy|pedestrian)\b", q) for q in yard)


def test_an_object_of_another_color_is_not_seen(yard):
    answers = {item.answer for question, item in yard.items() if "green car" in question}
    assert "I do not see a green car." in answers


def test_the_bigger_of_two_objects_is_named():
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.8, 0.8]])
    asked = questions(Scene(labels=("horse", "cat"), boxes=boxes, attributes=({}, {})), draws=200)
    assert asked["Which is bigger, the cat or the horse?"].answer == "The bigger is the horse [1]."
    assert asked["Is the cat or the horse smaller?"].answer == "The smaller is the cat [2]."


def test_without_listed_persons_nobody_is_present():
    alone = Scene(labels=("dog",), boxes=YARD.boxes[:1], attributes=({},))
    assert questions(alone)["Is anybody there?"].answer == "No, I do not see a person."


def test_truths_agree_with_the_answers(yard):
    for item in yard.values():
        truth = item.truth
        if truth.polarity is not None:
            said_yes = item.answer.startswith("Yes, ") or item.answer.endswith(", so yes.")
            assert truth.polarity == said_yes
        if truth.unanswerable:
            assert item.answer.startswith("I can't tell")
        # Groups are in the plural there.
        if truth.mentions is not None and item.family not in ("listing", "description"):
            assert {word for word in truth.among if word in item.answer} == truth.mentions


def test_absent_objects_are_denied(yard):
    denied = [item for item in yard.values() if item.answer.startswith("No, I do not see")]
    assert denied
    assert all(item.truth.polarity is False and not item.truth.cited for item in denied)
    assert not any("man" in item.answer.split() for item in denied), "a person may be one"


def test_an_empty_scene_is_asked_about():
    asked = questions(EMPTY)
    families = {item.family for item in asked.values()}
    assert {"existence", "count", "listing", "description", "unanswerable"} <= families
    assert asked["What do you see?"].answer == "I see no objects."
    assert asked[""].answer == "I see no objects."
    numbers = [item.truth.number for item in asked.values() if item.family == "count"]
    assert set(numbers) == {0}


def test_all_families_are_asked_and_no_question_repeats():
    made = ask(YARD, np.random.default_rng(0), len(FAMILIES), "evaluation", TRAIN_NOUNS)
    assert {item.family for item in made} == set(FAMILIES)
    assert len({item.question for item in made}) == len(made)


def test_training_asks_extra_families_more_often_and_evaluation_does_not():
    count = len(FAMILIES) + len(OFTEN)
    trained, evaluated = (
        Counter(
            item.family for item in ask(YARD, np.random.default_rng(0), count, split, TRAIN_NOUNS)
        )
        for split in ("train", "evaluation")
    )
    assert trained == Counter([*FAMILIES, *OFTEN])
    assert evaluated != trained


def test_training_asks_extra_families_more_often_with_few_questions():
    families = Counter(
        item.family
        for seed in range(200)
        for item in ask(YARD, np.random.default_rng(seed), 2, "train", TRAIN_NOUNS)
    )
    hard = np.mean([families[family] for family in OFTEN])
    others = np.mean([families[family] for family in FAMILIES if family not in OFTEN])
    assert hard > 1.5 * others


def test_draws_are_the_same_for_the_same_seed():
    first, second = (
        ask(YARD, np.random.default_rng(7), 20, "train", TRAIN_NOUNS) for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("listed", [(), ("car",), ("dog",)])
def test_missed_objects_are_never_denied(listed):
    count = len(listed)
    red = ({"color": "red"},) * count
    scene = Scene(labels=listed, boxes=np.full((count, 4), 0.1), attributes=red)
    answers = [
        item.answer
        for seed in range(60)
        for item in ask(
            scene, np.random.default_rng(seed), 20, "train", TRAIN_NOUNS, ("man", "dog")
        )
    ]
    denials = " ".join(answer for answer in answers if " no" in answer.lower())
    assert denials
    assert not re.search(r"\b(person|people|man|men|dogs?|animals?|nothing)\b", denials)
    assert "I see no objects." not in answers


def test_a_colored_person_is_called_nothing_that_a_person_need_not_be():
    labels, attributes = ("person", "person"), ({"color": "red"}, {"color": "blue"})
    scene = Scene(labels=labels, boxes=YARD.boxes[:2], attributes=attributes)
    asked = [
        item.question
        for item in questions(scene, draws=100).values()
        if item.family == "attribute" and item.truth.polarity is True
    ]
    assert any("a person in" in question for question in asked)
    assert not [x for x in asked if re.search(r"\ban? (man|woman|girl|boy|lady|adult)\b", x)]


def test_to_name_more_than_an_answer_has_room_for_is_no_mistake():
    labels = ("car", "dog", "cat", "bus", "cup", "fork", "zebra")
    boxes = np.linspace([0.1, 0.1, 0.5, 0.5], [0.4, 0.4, 0.9, 0.9], len(labels))
    scene = Scene(labels=labels, boxes=boxes, attributes=({},) * len(labels))
    listing = next(x for x in questions(scene).values() if x.family == "listing")
    whole = "I see a car, a dog, a cat, a bus, a cup, a fork and a zebra."
    assert is_right(listing.answer, listing.truth, ())
    assert is_right(whole, listing.truth, ())
    assert not is_right(whole.replace("zebra", "bear"), listing.truth, ())
    assert not is_right(whole.replace("a dog, ", ""), listing.truth, ())


def test_wordings_of_evaluation_are_its_own(yard):
    trained = {question for question in yard if question}
    assert not trained & set(questions(YARD, "evaluation", draws=20))


DOUBTS = replace(YARD, doubtful={8: "cat", 7: "bird", 9: "car", 10: "cat"})


@pytest.fixture(scope="module")
def doubts():
    return questions(DOUBTS, draws=600)


def test_of_a_doubtful_object_it_is_said_that_it_is_perhaps_there(doubts):
    asked = doubts["Is there a bird?"]
    assert "perhaps" in asked.answer.lower()
    assert "a bird [7]" in asked.answer
    assert (asked.truth.polarity, asked.truth.cited) == (True, {7})
    assert "cats [8][10]" in doubts["Is there a cat?"].answer
    assert doubts["How many birds are there?"].answer == "Perhaps one bird [7]."
    assert doubts["How many cats are there?"].answer == "Perhaps two cats [8][10]."
    assert doubts["How many cats are there?"].truth.number == 2
    assert "perhaps" in doubts["Where is the bird?"].answer.lower()


def test_a_listed_object_wins_over_a_doubtful_one(doubts):
    assert doubts["Is there a car?"].answer == "Yes, I see cars [1][6]."
    assert doubts["How many cars are there?"].answer == "I see two cars [1][6]."
    assert doubts["Is there an animal?"].answer == "Yes, I see a dog [3]."
    assert not [x for x in doubts.values() if 9 in cited_ids(x.answer)]


def test_doubtful_objects_are_never_denied_and_not_described(doubts):
    for item in doubts.values():
        if item.family in ("description", "listing"):
            assert max(cited_ids(item.answer)) <= len(YARD.labels)
        elif re.match(r"No, I do not see|I do not see|I see no ", item.answer):
            assert not re.search(r"\b(cats?|birds?|kitten|animals?)\b", item.answer), item


def test_with_doubtful_objects_alone_kinds_and_the_scene_are_perhaps_seen():
    asked = questions(replace(EMPTY, doubtful={1: "cat", 2: "person"}), draws=300)
    for question, seen in (
        ("Is there an animal?", "a cat [1]"),
        ("Is anybody there?", "a person [2]"),
        ("What do you see?", "a cat [1] and a person [2]"),
        ("", "a cat [1] and a person [2]"),
    ):
        assert seen in asked[question].answer, question
        assert "perhaps" in asked[question].answer.lower()


def test_all_answers_about_doubtful_objects_are_right_and_in_both_splits():
    for split in ("train", "evaluation"):
        guesses = [
            item
            for item in questions(DOUBTS, split, draws=60).values()
            if "perhaps" in item.answer.lower()
        ]
        assert guesses
        for item in guesses:
            assert is_right(item.answer, item.truth, cited_ids(item.answer)), item


def test_a_doubtful_object_with_the_number_of_a_listed_one_is_rejected():
    with pytest.raises(ValueError, match="doubtful"):
        replace(YARD, doubtful={6: "cat"})


def test_sides_are_those_of_the_prompt():
    rng = np.random.default_rng(0)
    left = rng.uniform(0, 600, 300)
    boxes = np.stack([left, np.zeros(300), left + rng.uniform(0, 40, 300), np.ones(300)], axis=1)
    for box in boxes.astype(np.float32):
        detections = Detections(box[None], np.ones(1, np.float32), ("dog",), (640, 480))
        line = describe_objects(detections, PromptSettings(), len).text
        share = detections.xyxy / np.tile(detections.resolution_wh, 2)
        scene = Scene(labels=("dog",), boxes=share, attributes=({},))
        items = ask(scene, np.random.default_rng(1), 20, "train", TRAIN_NOUNS)
        described = next(item for item in items if item.family == "description").answer
        side = line.split()[2]
        assert described.endswith("in the middle." if side == "middle" else f"on the {side}.")


def test_a_scene_with_parts_of_different_lengths_is_rejected():
    with pytest.raises(ValueError, match="1 labels"):
        Scene(labels=("dog",), boxes=np.zeros((2, 4)), attributes=({},))
