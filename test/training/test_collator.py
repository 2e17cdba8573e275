# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch

from mrmllm_ros.datasets.example import Example, QuestionAnswer, Targets, Truth
from mrmllm_ros.datasets.synthetic import synthetic_example
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.model.perception_head import MAX_EDGE_SHIFT
from mrmllm_ros.model.prompt import PERHAPS_THRESHOLD, PromptSettings, describe_objects
from mrmllm_ros.training.training_settings import TrainingSettings


@pytest.fixture
def collate(make_batches):
    return make_batches(TrainingSettings())[1]


@pytest.fixture
def examples():
    """Scenes of different sizes, an empty one among them."""
    made = [synthetic_example(seed, "train", 4) for seed in range(3)]
    nothing = Perception(Detections.empty((640, 480)), 0.3)
    empty = Example(
        perception=nothing,
        attributes=(),
        questions=(
            QuestionAnswer(question="Any?", answer="No.", family="existence", truth=Truth()),
        ),
        targets=Targets(
            scores=np.zeros(0, np.float32),
            labels=(),
            xyxy=np.zeros((0, 4), np.float32),
            attributes=(),
            novelty=np.zeros(0, np.float32),
        ),
    )
    return [*made, empty]


def decode(collate, ids):
    return collate._language_model.tokenizer.decode(ids)


def at_distance(perception, meters):
    distances = np.full(len(perception.candidates), meters, np.float32)
    return replace(perception, candidates=replace(perception.candidates, distances_m=distances))


def test_each_text_is_the_question_and_its_answer(collate, examples):
    batch = collate(examples)
    for row, example in enumerate(examples):
        for i, question in enumerate(example.questions):
            text = decode(collate, batch.texts.ids[row, batch.texts.segment_ids[row] == i])
            asked = question.question or "Describe the scene."
            assert text.startswith(asked)
            assert text.endswith(f"assistant\n{question.answer}<|im_end|>")


def test_what_is_wanted_are_the_tokens_of_the_answers_with_their_end(collate, examples):
    batch = collate(examples)
    rows, _ = batch.logits_mask.nonzero(as_tuple=True)
    assert len(rows) == len(batch.next_ids)
    for row, example in enumerate(examples):
        answers = "".join(f"{question.answer}<|im_end|>" for question in example.questions)
        assert decode(collate, batch.next_ids[rows == row]) == answers
    followed = batch.texts.ids.roll(-1, 1)[batch.logits_mask]
    assert torch.equal(followed, batch.next_ids)


def test_padding_belongs_to_no_text_and_is_not_wanted(collate, examples):
    short = replace(examples[0], questions=examples[0].questions[:1])
    batch = collate([short, examples[1]])
    padding = batch.texts.segment_ids == -1
    assert padding[0].any()
    assert not batch.logits_mask[padding].any()


def told(collate, batch, row):
    """Questions and answers of a scene, as they are in a batch."""
    segment_ids = batch.texts.segment_ids[row]
    return [
        decode(collate, batch.texts.ids[row, segment_ids == i])
        for i in range(segment_ids.max() + 1)
    ]


def test_what_cites_more_than_the_prompt_lists_is_not_asked(collate, examples):
    example = next(e for e in examples if e.perception.reported > 2)
    questions = tuple(
        QuestionAnswer(question=f"{i}?", answer=answer, family="count", truth=Truth())
        for i, answer in enumerate(("I see cups [1][2].", "I see cups [1][3].", "No cups."))
    )
    collate.processor.prompt = PromptSettings(max_objects=2)
    batch = collate([replace(example, questions=questions)])
    assert [text[:2] for text in told(collate, batch, 0)] == ["0?", "2?"]


def test_doubtful_objects_are_asked_about_where_the_prompt_names_them(collate, examples):
    example = next(e for e in examples if e.perception.doubtful(PERHAPS_THRESHOLD))
    doubtful = max(example.perception.doubtful(PERHAPS_THRESHOLD))
    answer = f"Perhaps I see a cup [{doubtful}]."
    question = QuestionAnswer(question="A?", answer=answer, family="existence", truth=Truth())
    example = replace(example, questions=(question,))
    assert len(told(collate, collate([example]), 0)) == 1
    for settings in (PromptSettings(perhaps_threshold=1.0), PromptSettings(max_objects=1)):
        collate.processor.prompt = settings
        assert collate([example]).texts.ids.shape == (1, 0)


def test_without_prompt_and_image_nothing_is_asked_that_only_the_prompt_tells(collate, examples):
    def item(question, answer, family):
        return QuestionAnswer(question=question, answer=answer, family=family, truth=Truth())

    questions = (
        item("A cup?", "No, I do not see a cup.", "existence"),
        item("A blue cup?", "No, I do not see a blue cup.", "attribute"),
        item("Where is the red cup?", "The cup [1] is on the left.", "position"),
        item("What is nearest?", "The nearest is the cup [1].", "nearest"),
        item("Is the door open?", "The door [1] is closed, so no.", "attribute"),
    )
    example = next(e for e in examples if e.perception.reported)
    near, far = (
        replace(example, questions=questions, perception=at_distance(example.perception, meters))
        for meters in (2.0, np.nan)
    )
    batch = collate([near, far], with_prompt=False)
    assert [text[:6] for text in told(collate, batch, 0)] == ["A cup?"]
    assert [text[:6] for text in told(collate, batch, 1)] == ["A cup?", "What i"]
    assert len(told(collate, collate([near]), 0)) == 5


def test_scenes_without_questions_have_no_texts(collate, examples):
    batch = collate([replace(example, questions=()) for example in examples])
    assert batch.texts.ids.shape == (len(examples), 0)
    assert len(batch.next_ids) == 0


def test_objects_are_written_down_with_what_is_stated_of_them(collate, examples):
    batch = collate(examples[:1])
    [example] = examples[:1]
    reported = example.perception.reported
    objects = describe_objects(
        example.perception.detections,
        collate.processor.prompt,
        lambda text: 1,
        example.attributes[:reported],
        example.perception.doubtful(PERHAPS_THRESHOLD),
    )
    assert decode(collate, batch.frames.prompts.ids[0]).startswith(objects.text)
    assert batch.frames.prompts.citable == (objects.citable,)
    without = collate(examples[:1], with_prompt=False)
    assert without.frames.prompts.ids.shape == (1, 0)
    # What it may cite is in the query tokens.
    assert without.frames.prompts.citable == ({*range(1, reported + 1)},)


def test_targets_lie_where_the_candidates_are_and_are_unknown_elsewhere(collate, examples):
    batch = collate(examples)
    targets, names = batch.targets, batch.frames.objects.labels.names
    assert targets.scores[~batch.frames.objects.mask].isnan().all()
    for row, example in enumerate(examples):
        count = len(example.perception.candidates)
        np.testing.assert_array_equal(targets.scores[row, :count], example.targets.scores)
        labels = [names[i] if i >= 0 else "" for i in targets.labels[row, :count].tolist()]
        assert tuple(labels) == example.targets.labels
        colors = [
            collate.attributes["color"][i] if i >= 0 else None
            for i in targets.attributes["color"][row, :count].tolist()
        ]
        assert colors == [values.get("color") for values in example.targets.attributes]


def test_edges_moved_by_their_targets_are_where_the_object_is(collate, examples):
    batch = collate(examples)
    for row, example in enumerate(examples):
        boxes = example.perception.candidates.xyxy
        shifts = batch.targets.edge_shifts[row, : len(boxes)].numpy()
        assert not (np.abs(shifts) > MAX_EDGE_SHIFT).any()
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        within = np.abs(shifts) < MAX_EDGE_SHIFT - 1e-6
        moved = boxes + shifts * sides
        np.testing.assert_allclose(
            moved[within], example.targets.xyxy[within], rtol=1e-3, atol=1e-2
        )


def test_true_labels_may_be_chosen_though_the_detector_does_not_know_them(collate, examples):
    names = collate(examples).frames.objects.labels.names
    wanted = {label for example in examples for label in example.targets.labels if label}
    assert wanted <= set(names)


def test_without_targets_everything_is_unknown(collate, examples):
    batch = collate([replace(examples[0], targets=None)])
    assert batch.targets.scores.isnan().all()
    assert batch.targets.edge_shifts.isnan().all()
    assert (batch.targets.labels == -1).all()


def test_scenes_with_and_without_an_image_go_together(collate, examples):
    width = collate.processor.perception_hidden_size
    has_image = replace(
        examples[0],
        perception=replace(
            examples[0].perception,
            box_features=torch.ones(len(examples[0].perception.candidates), width).half(),
        ),
        visual=torch.ones(collate.processor.visual_shape),
    )
    frames = collate([has_image, examples[1]]).frames
    assert frames.has_image.tolist() == [True, False]
    assert frames.objects.features[0].max() == 1
    assert not frames.objects.features[1].any()


def test_a_batch_moves_to_a_device_whole(collate, examples):
    moved = collate(examples).to(torch.device("meta"))
    assert moved.texts.ids.device.type == "meta"
    assert moved.frames.objects.labels.embeddings.device.type == "meta"
    assert moved.targets.attributes["color"].device.type == "meta"
