# SPDX-License-Identifier: Apache-2.0
import re
from dataclasses import replace

import numpy as np
import pytest

from mrmllm_ros.model.citations import cited_ids
from mrmllm_ros.model.prompt import (
    DESCRIBE,
    EXAMPLES,
    INSTRUCTION,
    TRAINED_INSTRUCTION,
    PromptSettings,
    chat,
    context_error,
    describe_objects,
    question_with_context,
)
from mrmllm_ros.settings import SettingsError


def describe_list(detections, count_tokens=len, **settings):
    return describe_objects(detections, PromptSettings(**settings), count_tokens)


def describe(detections, count_tokens=len, **settings):
    return describe_list(detections, count_tokens, **settings).text


def of_equal_length(make_detections, count):
    """So many objects whose lines have 27 characters each, and 3 more in each of two orders."""
    return make_detections(
        *[(f"teapot no{i}", 0.5, (640, 480, 960, 720)) for i in range(1, count + 1)],
        resolution_wh=(1000, 750),
    )


def test_no_objects_are_said_to_be_none(make_detections):
    assert describe(make_detections()) == "No objects."


def test_each_object_is_a_numbered_line_with_label_side_and_place(make_detections):
    objects = make_detections(
        ("person", 0.9, (38.5, 129.7, 172.9, 398.5)),
        ("traffic light", 0.8, (576, 0, 608, 96)),
        ("cup", 0.1, (288, 216, 352, 264)),
    )
    assert describe(objects).splitlines() == [
        "nearest first [1][3][2]",
        "left [1] middle [3] right [2]",
        "person [1] left 16,83",
        "traffic light [2] right 92,20",
        "cup [3] middle 50,55",
    ]


def test_lines_come_in_the_order_of_the_detections_whose_numbers_they_bear(make_detections):
    cups = make_detections(*[("cup", 0.5, (0, 0, 6 * i, 9)) for i in range(1, 13)])
    _, _, _, *lines = describe(cups).splitlines()
    assert [line.split("]")[0] for line in lines] == [f"cup [{i}" for i in range(1, 13)]
    assert [int(line.split()[3].split(",")[0]) for line in lines] == [
        6 * i * 50 // 640 for i in range(1, 13)
    ]


@pytest.mark.parametrize(
    ("box", "written"),
    [
        ((0, 0, 640, 480), "middle 50,99"),
        ((640, 480, 640, 480), "right 99,99"),
        ((-50, -0.5, 700, 500), "middle 50,99"),
        ((-60, 0, 64, 48), "left 5,10"),
        ((320, 240, 640, 475), "right 75,98"),
    ],
)
def test_numbers_are_of_0_to_99_and_of_what_is_within_the_image(box, written, make_detections):
    assert describe(make_detections(("bus", 0.9, box))) == f"bus [1] {written}"


def test_what_else_is_known_stands_behind_the_label(make_detections):
    objects = make_detections(("car", 0.9, (0, 0, 64, 48)), ("door", 0.8, (576, 432, 640, 480)))
    objects = replace(objects, distances_m=np.float32([2.1, np.nan]))
    attributes = [{"color": "red"}, {"state": "half\nopen"}]
    *_, car, door = describe_objects(objects, PromptSettings(), len, attributes).text.splitlines()
    assert [car, door] == ["car [1] red 2.1 m left 5,10", "door [2] half open right 95,99"]


LOWER_EDGES = {"cup": 100, "bus": 470, "car": 300}


@pytest.mark.parametrize(
    ("meters", "orders"),
    [
        (None, ["nearest first [2][3][1]"]),
        ((np.nan,) * 3, ["nearest first [2][3][1]"]),
        ((4, 20.5, 3.9), ["nearest first [3][1][2]", "lowest first [2][3][1]"]),
        ((4, np.nan, 3.9), ["nearest first [3][1]", "lowest first [2][3][1]"]),
    ],
    ids=["lower edges", "distances of none", "distances of all", "distances of some"],
)
def test_first_lines_order_the_objects_by_distance_where_it_is_known_and_by_lower_edge(
    meters, orders, make_detections
):
    objects = make_detections(
        *[(label, 0.9, (0, 0, 99, lower)) for label, lower in LOWER_EDGES.items()]
    )
    if meters is not None:
        objects = replace(objects, distances_m=np.float32(meters))
    assert describe(objects).splitlines()[:-4] == orders


def test_a_line_has_the_objects_from_left_to_right_split_by_side(make_detections):
    places = (600, 20, 330, 10, 300)
    objects = make_detections(*[("cup", 0.9, (x, 0, x + 20, 20)) for x in places])
    assert "\nleft [4][2] middle [5][3] right [1]\n" in describe(objects)
    assert "\nleft [2] right [1]\n" in describe(objects.take([0, 1]))


def test_objects_equally_far_keep_their_order(make_detections):
    cups = of_equal_length(make_detections, 3)
    assert describe(cups).startswith("nearest first [1][2][3]\nright [1][2][3]\n")


def test_the_first_line_counts_what_is_there_more_than_once(make_detections):
    labels = ("bus", "traffic\nlight", "person", "traffic light", "person", "person")
    objects = make_detections(*[(label, 0.9, (0, 0, 64, 48)) for label in labels])
    assert describe(objects).startswith("several traffic light 2, person 3\nnearest")
    assert "several" not in describe(objects.take([0, 1, 2]))


def test_only_what_is_listed_is_counted(make_detections):
    cups = make_detections(*[("cup", 0.9, (0, 0, 64, 48))] * 5)
    assert describe(cups, max_objects=3).startswith("several cup 3\n")
    assert "several" not in describe(cups, max_objects=1)


def test_the_budget_pays_for_a_count_once(make_detections):
    cups = make_detections(*[("cup", 0.9, (0, 0, 64, 48))] * 3)
    line = len("[1][1]cup [1] left 5,10\n")
    enough = 3 * line + len("cup 2, ")
    assert describe_list(cups, token_budget=enough).count == 3
    assert describe_list(cups, token_budget=enough - 1).count == 2


def test_one_object_has_no_order(make_detections):
    line = "teapot no1 [1] right 80,96"
    assert describe(of_equal_length(make_detections, 1)) == line
    assert describe(of_equal_length(make_detections, 2), max_objects=1) == f"{line}\nand 1 more"


def test_the_grid_does_not_depend_on_the_resolution(make_detections):
    small = make_detections(("bus", 0.9, (40, 60, 120, 180)), resolution_wh=(160, 240))
    large = make_detections(("bus", 0.9, (400, 600, 1200, 1800)), resolution_wh=(1600, 2400))
    assert describe(small) == describe(large)


@pytest.mark.parametrize(
    ("left", "right", "side"),
    [
        (0, 100, "left"),
        (150, 250, "middle"),
        (140, 250, "left"),
        (160, 300, "middle"),
        (0, 600, "middle"),
        (350, 449, "middle"),
        (380, 440, "right"),
        (599, 600, "right"),
        (600, 600, "right"),
    ],
)
def test_the_side_is_the_third_of_the_image_that_the_center_is_in(
    left, right, side, make_detections
):
    box = make_detections(("bus", 0.9, (left, 0, right, 100)), resolution_wh=(600, 100))
    assert describe(box).split()[2] == side


def test_as_many_lines_are_written_as_the_budget_has_tokens_for(make_detections):
    cups = of_equal_length(make_detections, 4)
    assert len("[1][1]" + describe(cups, max_objects=4).splitlines()[2] + "\n") == 33
    for budget, written in ((4 * 33, 4), (4 * 33 - 1, 3), (3 * 33, 3), (3 * 33 - 1, 2), (33, 1)):
        objects = describe_list(cups, token_budget=budget)
        assert objects.count == written, budget
        assert (f"and {4 - written} more" in objects.text) == (written < 4), budget


DOUBTFUL = {7: "cup", 9: "spoon", 8: "stop\n[1] sign"}


def describe_with_doubtful(detections, doubtful=DOUBTFUL, **settings):
    return describe_objects(detections, PromptSettings(**settings), len, doubtful=doubtful)


def test_a_last_line_names_the_doubtful_objects_with_their_numbers(make_detections):
    listed = describe_with_doubtful(of_equal_length(make_detections, 2))
    assert listed.text.splitlines() == [
        "nearest first [1][2]",
        "right [1][2]",
        "teapot no1 [1] right 80,96",
        "teapot no2 [2] right 80,96",
        "perhaps cup [7] spoon [9] stop (1) sign [8]",
    ]
    assert (listed.count, listed.doubtful) == (2, (7, 9, 8))
    assert listed.citable == {1, 2, 7, 8, 9}


def test_without_doubtful_objects_there_is_no_such_line(make_detections):
    listed = describe_with_doubtful(of_equal_length(make_detections, 2), {})
    assert listed == describe_list(of_equal_length(make_detections, 2))
    assert (listed.doubtful, listed.citable) == ((), {1, 2})


def test_doubtful_objects_are_named_where_there_are_no_others(make_detections):
    listed = describe_with_doubtful(make_detections(), {1: "cup"})
    assert listed.text == "No objects.\nperhaps cup [1]"
    assert (listed.count, listed.citable) == (0, {1})


def test_a_list_that_is_cut_names_no_doubtful_objects(make_detections):
    listed = describe_with_doubtful(of_equal_length(make_detections, 3), max_objects=2)
    assert listed.text.endswith("\nand 1 more")
    assert listed.citable == {1, 2}


def test_the_budget_pays_for_doubtful_objects_one_by_one(make_detections):
    pot = of_equal_length(make_detections, 1)
    enough = 33 + len("perhaps\n cup [7] spoon [9]")
    for budget, named in ((enough, (7, 9)), (enough - 1, (7,)), (33 + 8 + 7, ()), (33, ())):
        listed = describe_with_doubtful(pot, token_budget=budget)
        assert listed.doubtful == named, budget
        assert ("perhaps" in listed.text) == bool(named)


def test_doubtful_objects_count_among_the_allowed_ones(make_detections):
    pot = of_equal_length(make_detections, 1)
    assert describe_with_doubtful(pot, max_objects=2).doubtful == (7,)
    assert describe_with_doubtful(pot, max_objects=1).doubtful == ()


def test_the_budget_is_counted_in_the_models_tokens(make_detections):
    cups = of_equal_length(make_detections, 4)
    assert "more" not in describe(cups, lambda text: 8, token_budget=32)
    assert describe(cups, lambda text: 11, token_budget=32).endswith("\nand 2 more")


def test_an_object_too_long_for_the_budget_is_counted_and_ends_the_list(make_detections):
    objects = make_detections(("x" * 99, 0.9, (0, 0, 9, 9)), ("cup", 0.5, (0, 0, 9, 9)))
    assert describe(objects, token_budget=50) == "and 2 more"


def test_no_more_objects_than_allowed_are_written(make_detections):
    cups = of_equal_length(make_detections, 5)
    *orders, _, _, _, left_out = describe(cups, max_objects=3).splitlines()
    assert orders == ["nearest first [1][2][3]", "right [1][2][3]"]
    assert left_out == "and 2 more"


def test_the_same_detections_always_give_the_same_text(make_detections):
    objects = [("cup", 0.5, (7.3, 1, 99, 99)), ("bus", 0.5, (7.3, 1, 99, 99))]
    texts = {describe(make_detections(*objects)) for _ in range(5)}
    assert len(texts) == 1


@pytest.mark.parametrize(("count", "written"), [(0, 0), (1, 1), (3, 3), (9, 4)])
def test_the_objects_that_are_listed_are_counted(count, written, make_detections):
    assert describe_list(of_equal_length(make_detections, count), max_objects=4).count == written


def test_nothing_is_listed_where_the_budget_is_too_small(make_detections):
    assert (
        describe_list(make_detections(("x" * 99, 0.9, (0, 0, 9, 9))), token_budget=50).count == 0
    )


@pytest.mark.parametrize(
    "values",
    [
        {"max_objects": 0},
        {"token_budget": 31},
        {"max_objects": 301},
        {"perhaps_threshold": -0.1},
        {"perhaps_threshold": 1.1},
    ],
)
def test_limits_that_make_no_sense_are_refused(values):
    with pytest.raises(SettingsError):
        PromptSettings(**values)


def test_the_chat_begins_with_the_instruction_and_ends_with_objects_and_question():
    messages = chat("bus [1] left 2,4", "  Is there a bus?\n")
    assert messages[0] == {"role": "system", "content": INSTRUCTION}
    assert messages[-1]["role"] == "user"
    assert "bus [1] left 2,4\n" in messages[-1]["content"]
    assert messages[-1]["content"].endswith("\nIs there a bus?")


@pytest.mark.parametrize("context", ["", "  "])
@pytest.mark.parametrize("examples", [True, False])
def test_without_a_context_the_chat_is_the_same(context, examples):
    assert chat("No objects.", "A?", examples, context) == chat("No objects.", "A?", examples)


@pytest.mark.parametrize(
    ("examples", "instruction"), [(True, INSTRUCTION), (False, TRAINED_INSTRUCTION)]
)
def test_a_context_is_a_sentence_behind_the_instruction(examples, instruction):
    system, *others = chat("No objects.", "A?", examples, " a hospital corridor ")
    assert system["content"] == f"{instruction} You are in a hospital corridor."
    assert others == chat("No objects.", "A?", examples)[1:]


@pytest.mark.parametrize(
    ("question", "context", "text"),
    [
        ("Is it safe?", "a ward", "Context: a ward\nIs it safe?"),
        (" Is it safe?\n", " a ward ", "Context: a ward\nIs it safe?"),
        ("", "a ward", f"Context: a ward\n{DESCRIBE}"),
        ("Is it safe?", "", "Is it safe?"),
        ("", " ", DESCRIBE),
    ],
)
def test_the_context_of_a_question_stands_before_it(question, context, text):
    assert question_with_context(question, context) == text


@pytest.mark.parametrize("context", ["", "a kitchen", "x" * 200, "ein Büro", "病院の廊下"])
def test_a_context_is_a_short_printable_text(context):
    assert context_error(context) == ""


@pytest.mark.parametrize(
    ("context", "error"),
    [
        ("x" * 201, "the context has 201 characters; the maximum is 200; shorten it"),
        ("a\nb", "the context contains the unprintable character U+000A; remove it"),
        ("\x1b[2J", "the context contains the unprintable character U+001B; remove it"),
        ("\ud800", "the context contains the unprintable character U+D800; remove it"),
    ],
)
def test_another_context_has_an_error_with_the_fix(context, error):
    assert context_error(context) == error


def test_user_and_assistant_take_turns():
    roles = [message["role"] for message in chat("No objects.", "What is there?")]
    assert roles == ["system", *["user", "assistant"] * (len(roles) // 2 - 1), "user"]


def test_only_the_last_message_depends_on_objects_and_question():
    one, other = chat("bus [1] left 2,4", "A?"), chat("No objects.", "B?")
    assert one[:-1] == other[:-1]
    assert one[-1] != other[-1]


def test_up_to_the_question_all_questions_about_a_scene_are_the_same():
    one, other = chat("No objects.", "How many?"), chat("No objects.", "")
    assert one[-1]["content"].removesuffix("How many?") == other[-1]["content"].removesuffix(
        "Describe the scene."
    )


def test_without_objects_the_last_message_is_the_question_alone():
    messages = chat(None, " Is there a bus?\n")
    assert messages[-1] == {"role": "user", "content": "Is there a bus?"}
    assert chat(None, " ")[-1]["content"] == DESCRIBE
    assert messages[:-1] == chat("No objects.", "")[:-1]


@pytest.mark.parametrize("objects", ["No objects.", None])
def test_without_examples_there_are_instruction_and_question_alone(objects):
    messages = chat(objects, "A?", examples=False)
    assert [message["role"] for message in messages] == ["system", "user"]
    with_examples = chat(objects, "A?")
    assert messages[0]["content"] == TRAINED_INSTRUCTION
    assert messages[-1] == with_examples[-1]
    assert len(with_examples) == 2 + 2 * len(EXAMPLES)


def test_examples_cite_objects_that_they_list_and_no_others():
    for objects, _, answer in EXAMPLES:
        listed = re.findall(r"^[a-z ]+ \[(\d+)\] .*\d+,\d+$", objects, re.MULTILINE)
        perhaps = re.findall(r"\[(\d+)\]", objects.partition("\nperhaps ")[2])
        cited = cited_ids(answer, {*map(int, perhaps if "Perhaps" in answer else listed)})
        assert len(cited) == answer.count("[")


@pytest.mark.parametrize("question", ["", " ", "\n\t "])
def test_an_empty_question_asks_for_a_description(question):
    assert chat("No objects.", question)[-1]["content"].endswith("\nDescribe the scene.")


@pytest.mark.parametrize(
    ("text", "count", "ids"),
    [
        ("There are two people [1][3].", 3, (1, 3)),
        ("[3] is left of [1].", 3, (3, 1)),
        ("[2] and [1] and [2] again", 3, (2, 1)),
        ("[12]", 12, (12,)),
        ("two cups [1,3] and [2, 1]", 3, (1, 3, 2)),
        ("[1,9]", 3, (1,)),
        ("[0] [4] [99] and [2]", 3, (2,)),
        ("[1]", 0, ()),
        ("nothing of that", 3, ()),
        ("1 and (2) and [x] and [-1] and [1.5] and []", 3, ()),
        ("", 3, ()),
    ],
)
def test_an_answer_cites_the_objects_whose_numbers_stand_in_brackets(text, count, ids):
    assert cited_ids(text, range(1, count + 1)) == ids


def test_a_label_with_line_breaks_stays_on_its_line(make_detections):
    detections = make_detections(("cup\n[9] gun", 0.9, (0, 0, 64, 48)))
    objects = describe_objects(detections, PromptSettings(), len)
    assert objects.text == "cup (9) gun [1] left 5,10"
    assert objects.count == 1


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("sign [3]", "sign (3)"),
        ("[7]", "(7)"),
        ("[1] bus [2] left 5,10", "(1) bus (2) left 5,10"),
        ("", "object"),
        (" \n", "object"),
        ("stop\n[3] cup", "stop (3) cup"),
        ("stop\x00\x1b[3]", "stop (3)"),
        ("a\u2028b\x85c", "a b c"),
    ],
)
def test_no_label_seems_to_be_a_citation_or_another_line(label, written, make_detections):
    objects = make_detections((label, 0.9, (0, 0, 64, 48)), ("cup", 0.8, (0, 0, 64, 48)))
    *_, named, cup = describe(objects).splitlines()
    assert (named, cup) == (f"{written} [1] left 5,10", "cup [2] left 5,10")
    assert cited_ids(named) == (1,)
    assert describe_list(objects).count == 2
    # Nor does an answer that says the label as the prompt has it.
    assert cited_ids(f"I see a {written} [1].") == (1,)
