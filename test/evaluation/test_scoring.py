# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.synthetic import synthetic_example
from mrmllm_ros.detection.colors import COLORS
from mrmllm_ros.evaluation.scoring import (
    citation_counts,
    is_right,
    mentions,
    number,
    polarity,
    says_perhaps,
)
from mrmllm_ros.model.citations import cited_ids
from mrmllm_ros.model.prompt import SIDES

YES, NO = Truth(polarity=True), Truth(polarity=False)
COLORED = frozenset(["red", "orange", "gray"])
UNANSWERABLE = Truth(unanswerable=True)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Yes, I see a dog [3].", True),
        ("yes", True),
        ("I see people [1][2].", True),
        ("There is a dog on the left.", True),
        ("No, I do not see a cat.", False),
        ("The dog [3] is on the left, so yes.", True),
        ("The dog [3] is on the left, so no.", False),
        ("There is a cat [1], a dog [2]: no", False),
        ("No.", False),
        ("I don\u2019t see any cats.", False),
        ("There are no cats.", False),
        ("I see no cat.", False),
        ("I see that the door [2] is not open.", False),
        ("The image does not show white cars.", False),
        ("I can't tell whether there is a dog.", None),
        ("I do not know if there are any cats.", None),
        ("I see nothing on the left.", False),
        ("I count no dogs.", False),
        ("The dog [3] is not on the left.", False),
        ("The image does not show a cat.", False),
        ("Nobody is there.", False),
        ("The dog [3] is on the right.", None),
        ("Nothing to say", None),
        ("Yesterday", None),
        ("", None),
    ],
)
def test_polarity_is_parsed(text, meant):
    assert polarity(text) is meant
    assert is_right(text, YES, ()) is (meant is True)
    assert is_right(text, NO, ()) is (meant is False)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("I count [1][6], two cars.", 2),
        ("There are 12 people.", 12),
        ("Twelve.", 12),
        ("There is a dog [7].", 1),
        ("I count one dog.", 1),
        ("I count no dogs.", 0),
        ("None.", 0),
        ("I do not see a dog.", 0),
        ("No, I count three dogs.", 3),
        ("I see both.", 2),
        ("There are twenty of them.", 20),
        ("The dog is 2.1 m away.", None),
        ("[3]", None),
        ("Dogs.", None),
        ("I see a lot of dogs.", None),
        ("I see a total of three dogs.", 3),
        ("I see three total.", 3),
        ("There are two number plates.", 2),
        ("There are a number of dogs, five in all.", 5),
        ("The dogs are [1] on the left, [12] in the middle, so one.", 1),
        ("The dogs are [1] on the left, [12] in the middle, so none.", 0),
    ],
)
def test_a_number_is_read_as_word_or_digits_and_never_from_a_citation(text, meant):
    assert number(text) == meant


def test_a_wrong_number_is_wrong():
    assert is_right("I count [1][2], two cars.", Truth(number=2), (1, 2))
    assert not is_right("I count [1][2], three cars.", Truth(number=2), (1, 2))
    assert not is_right("Cars [2].", Truth(number=2), (2,))


@pytest.mark.parametrize(
    ("text", "among", "named"),
    [
        ("I see a fire truck [1].", {"truck", "fire truck"}, {"fire truck"}),
        ("I see trucks and a fire truck.", {"truck", "fire truck"}, {"truck", "fire truck"}),
        ("I see people [1][2] and knives.", {"person", "knife", "dog"}, {"person", "knife"}),
        ("Six persons.", {"person"}, {"person"}),
        ("I see scarves.", {"car", "scarf"}, {"scarf"}),
        ("In the CENTER.", set(SIDES), {"middle"}),
        ("It is gray.", COLORED, {"gray"}),
        ("I see an orange car [1].", {"orange", "car"}, {"car"}),
        ("I see a man in orange on the left.", {"orange", "man"}, {"man"}),
        ("I see an orange [1] and a car.", {"orange", "car"}, {"orange", "car"}),
        ("It is 12.1 m away.", {"2.1 m", "12.1 m"}, {"12.1 m"}),
        ("It is 2.1m away.", {"2.1 m", "12.1 m"}, {"2.1 m"}),
        ("It is 2 meters away.", {"2.0 m", "12.1 m"}, {"2.0 m"}),
        ("It is 12.1 meters away.", {"2.1 m", "12.1 m"}, {"12.1 m"}),
        ("A sofa and two men.", {"couch", "person", "chair"}, {"couch", "person"}),
        ("A lorry.", {"truck", "lorry"}, {"lorry"}),
        ("Nothing.", set(), set()),
    ],
)
def test_mentions_are_whole_words_the_longest_first_in_any_number(text, among, named):
    assert frozenset(mentions(text, frozenset(among))) == named


def test_all_of_the_words_must_be_named_and_no_others():
    truth = Truth(mentions=frozenset(["red"]), among=COLORED)
    assert is_right("The dog [1] is red.", truth, ())
    assert not is_right("The dog [1] is red or orange.", truth, ())
    assert not is_right("The dog [1] is here.", truth, ())
    nothing = Truth(mentions=frozenset(), among=frozenset(["dog"]))
    assert is_right("I see nothing on the left.", nothing, ())
    assert not is_right("I see a dog.", nothing, ())


@pytest.mark.parametrize(
    "text",
    [
        "I can't tell that from what I see.",
        "I cannot tell how far the dog [3] is.",
        "I do not know.",
        "I'm not sure.",
        "That cannot be told.",
        "Nobody can tell.",
        "The image does not show whether it is open.",
    ],
)
def test_cannot_tell_is_right_only_for_unanswerable_questions(text):
    assert is_right(text, UNANSWERABLE, ())
    assert not is_right(text, NO, ())
    assert not is_right(text, Truth(), ())


def test_not_shown_means_unanswerable_or_absent():
    text = "The image does not show that."
    assert is_right(text, UNANSWERABLE, ())
    assert is_right(text, NO, ())
    assert not is_right(text, Truth(polarity=True), ())


DISTANCES = frozenset(["4.0 m", "6.0 m"])
EVIDENCE = "The people are [2] 4.0 m, [4] 6.0 m away"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (f"{EVIDENCE}, so the nearest is [2], 4.0 m away.", True),
        (f"{EVIDENCE}, so the nearest is [4], 6.0 m away.", False),
        (f"{EVIDENCE}, so it is near.", False),
        (f"{EVIDENCE}.", False),
        ("The nearest person [2] is 4.0 m away.", True),
    ],
)
def test_distances_are_scored_in_the_conclusion(text, right):
    assert is_right(text, Truth(mentions=frozenset(["4.0 m"]), among=DISTANCES), ()) == right


def test_words_before_the_conclusion_do_not_make_an_answer_wrong():
    truth = Truth(mentions=frozenset(["dog"]), among=frozenset(["dog", "door"]))
    evidence = "The door [5] is 8.0 m away and the dog [3] is 2.1 m away"
    assert is_right(f"{evidence}, so the closer is the dog [3].", truth, ())
    assert not is_right(f"{evidence}, so the closer is the door [5].", truth, ())
    assert not is_right(f"{evidence}.", truth, ())
    # All text up to the last ", so " is evidence.
    assert is_right(f"{evidence}, so compare, so the closer is the dog.", truth, ())


@pytest.mark.parametrize("text", ["Yes.", "I do not see a dog.", "It is 3 m away.", ""])
def test_an_answer_to_an_unanswerable_question_is_wrong(text):
    assert not is_right(text, UNANSWERABLE, ())


def test_citations_count_where_they_are_the_answer():
    truth = Truth(cited=frozenset([2, 4]), cites_answer=True)
    assert is_right("The red cars are [4][2].", truth, (4, 2))
    assert not is_right("The red car is [2].", truth, (2,))
    assert not is_right("They are [2][4][5].", truth, (2, 4, 5))
    assert is_right("It is [2].", replace(truth, cites_answer=False), (2,))


def test_citations_are_counted_once_each():
    truth = Truth(cited=frozenset([1, 2]))
    assert citation_counts((2, 3, 3), truth) == (1, 2, 2)
    assert citation_counts((), truth) == (0, 0, 2)
    assert citation_counts((1,), Truth(cited=frozenset())) == (0, 1, 0)
    assert citation_counts((1,), Truth()) == (0, 0, 0)


@pytest.mark.parametrize("split", ["train", "evaluation"])
def test_the_answers_of_synthetic_scenes_are_right(split):
    for seed in range(60):
        for item in synthetic_example(seed, split, 12).questions:
            cited = cited_ids(item.answer)
            assert is_right(item.answer, item.truth, cited), item
            if item.truth.cited is not None:
                hits, given, wanted = citation_counts(cited, item.truth)
                assert hits == given == wanted, item


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("The cars are [1] red, [2] blue.", True),
        ("The cars are [2] blue, [1] red.", True),
        ("The cars are [1] blue, [2] red.", False),
        ("The cars are [1] red.", False),
        ("The cars are red and blue.", False),
        ("The cars [1][2] are red.", False),
    ],
)
def test_each_word_must_go_with_its_own_object(text, right):
    truth = Truth(
        mentions=frozenset({"red", "blue"}),
        among=frozenset(COLORS),
        pairs=frozenset({(1, "red"), (2, "blue")}),
    )
    assert is_right(text, truth, cited_ids(text)) == right


def test_one_word_may_go_with_all_objects():
    truth = Truth(
        mentions=frozenset({"left"}),
        among=frozenset(SIDES),
        pairs=frozenset({(1, "left"), (2, "left")}),
    )
    assert is_right("The dogs [1][2] are both on the left.", truth, (1, 2))
    assert not is_right("The dog [1] is on the left.", truth, (1,))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Perhaps I see a cup [7].", True),
        ("perhaps", True),
        ("Perhaps, I am not sure.", True),
        ("I may see a cup [7], perhaps.", True),
        ("Maybe there is one [7].", True),
        ("There is maybe a cup [7].", True),
        ("No, but perhaps a bowl [7].", False),
        ("I do not see a cup, perhaps a bowl [7].", False),
        ("Perhaps the cup [7] is on the left, so no.", False),
        ("I can't tell, perhaps.", None),
        ("Perhaps not.", None),
    ],
)
def test_a_guess_is_a_yes(text, meant):
    assert polarity(text) is meant
    assert is_right(text, YES, ()) is (meant is True)


def test_guesses_are_recognized():
    assert says_perhaps("Perhaps one cup [7].")
    assert says_perhaps("I see a cup [7], maybe.")
    assert not says_perhaps("Yes, I see a cup [7].")
    assert not says_perhaps("Perhaps not.")
    assert not says_perhaps("")


def test_a_guess_may_be_the_count():
    assert is_right("Perhaps one cup [7].", Truth(number=1), (7,))
    assert not is_right("Perhaps two cups [7][8].", Truth(number=1), (7, 8))
