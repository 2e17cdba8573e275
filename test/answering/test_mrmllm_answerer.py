# SPDX-License-Identifier: Apache-2.0
import copy
import random
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from making import LABELS, SILENT, make_image, make_perception, tiny_gemma2, tiny_llama

from mrmllm_ros.answering import mrmllm_answerer
from mrmllm_ros.answering.answerer import PromptTooLongError, Question
from mrmllm_ros.answering.generation import Decoding, Generation, Listener
from mrmllm_ros.answering.mrmllm_answerer import (
    MrMllmAnswerer,
)
from mrmllm_ros.detection.colors import color_attributes
from mrmllm_ros.detection.detector import FixedVocabularyError, VocabularyError
from mrmllm_ros.model.checkpoint import MrMllmSettings
from mrmllm_ros.model.processing_mrmllm import MrMllmProcessor, TextBatch
from mrmllm_ros.model.prompt import PromptSettings, chat, describe_objects
from mrmllm_ros.model.visual_encoder import VisualEncoder, VisualEncoderSettings

QUESTIONS = (
    "How many people are there?",
    "Is there a dog?",
    "Where is the bus?",
    "",
    "What is nearest?",
    "List everything you see.",
    "Is it raining?",
    "Is the traffic light left of the person?",
    "Which object is largest?",
    "¿Qué ves?",
)


@pytest.fixture
def generations(monkeypatch):
    """What was generated, by thread, in the order it ended."""
    made = []
    generate = mrmllm_answerer.generate_text

    def spy(*arguments):
        made.append(generate(*arguments))
        return made[-1]

    monkeypatch.setattr(mrmllm_answerer, "generate_text", spy)
    return made


@pytest.fixture(scope="module")
def untrained(backbones):
    return MrMllmAnswerer.load(MrMllmSettings(""), PromptSettings(), backbones)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_without_a_checkpoint_answers_are_those_of_the_language_model_reading_the_prompt(
    count, untrained, language_model
):
    perception = make_perception(count)
    [reading] = untrained.read([make_image()], [perception])
    objects = describe_objects(
        perception.detections, PromptSettings(), language_model.count_tokens
    )
    for question in QUESTIONS[:3]:
        answer = untrained.answer(reading, Question(question, Decoding(12)), SILENT)
        prompt = language_model.tokenizer.apply_chat_template(
            chat(objects, question),
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        plain = language_model.model.generate(**prompt, max_new_tokens=12, do_sample=False)
        tokens = plain[0, prompt["input_ids"].shape[1] :]
        text = language_model.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert answer.text == text
        assert answer.tokens == len(tokens)


def test_without_a_checkpoint_it_says_untrained_and_leaves_detections_alone(untrained):
    perception = make_perception(6)
    [reading] = untrained.read([make_image()], [perception])
    assert untrained.state == "untrained"
    assert reading.enriched.fused is perception.candidates
    assert reading.enriched.reported.tolist() == list(range(perception.reported))
    assert untrained.model.visual_encoder is None


def test_without_a_checkpoint_a_frame_is_read_when_the_first_question_comes_and_once(
    backbones, monkeypatch
):
    answerer = MrMllmAnswerer.load(MrMllmSettings(""), PromptSettings(), backbones)
    passes = []
    read = answerer.model.read
    monkeypatch.setattr(
        answerer.model, "read", lambda *frame: passes.append(frame) or read(*frame)
    )
    [reading] = answerer.read([make_image()], [make_perception(2)])
    assert not passes
    threads = [
        threading.Thread(
            target=answerer.answer, args=(reading, Question("Who?", Decoding(2)), SILENT)
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(passes) == 1


def test_without_a_checkpoint_labels_cannot_be_chosen(untrained):
    with pytest.raises(FixedVocabularyError, match=r"mrmllm\.checkpoint"):
        untrained.set_vocabulary(["forklift"])


def test_a_head_that_is_not_trained_on_labels_cannot_choose_them(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones(), perception_outputs=["score", "novelty"])
    with pytest.raises(FixedVocabularyError, match="trained on labels"):
        answerer.set_vocabulary(["forklift"])


def uncached_choice(answerer, backbones, frame, question, token_ids):
    """The token that one pass over everything, without any cache, puts at each place."""
    model = answerer.model
    processor = MrMllmProcessor(model.config, backbones, PromptSettings())
    frames = processor([frame[0]], [frame[1]])
    ids = processor.chat.question_ids(question.strip() or "Describe the scene.")
    whole = torch.cat([ids, torch.tensor(token_ids)])[None]
    with torch.inference_mode():
        texts = TextBatch(whole, torch.zeros_like(whole))
        output = model(frames, processor.chat.preamble_ids, texts)
    return output.logits[0, len(ids) - 1 : -1].argmax(-1).tolist()


def test_ten_questions_in_any_order_get_token_for_token_what_an_uncached_pass_gives(
    backbones, make_answerer, generations
):
    answerer = make_answerer(backbones)
    frame = make_image(), make_perception(6)
    [reading] = answerer.read([frame[0]], [frame[1]])
    before = copy.deepcopy(reading.prefix().cache)
    shuffled = random.Random(3).sample(QUESTIONS, len(QUESTIONS))
    for question in shuffled:
        answerer.answer(reading, Question(question, Decoding(8)), SILENT)
        token_ids = list(generations[-1].token_ids)
        assert uncached_choice(answerer, backbones, frame, question, token_ids) == token_ids
    for layer, untouched in zip(reading.prefix().cache.layers, before.layers, strict=True):
        assert torch.equal(layer.keys, untouched.keys)
        assert torch.equal(layer.values, untouched.values)


def test_two_questions_at_once_get_what_each_alone_gets(backbones, make_answerer):
    answerer = make_answerer(backbones)
    images, perceptions = (
        [make_image(0), make_image(1)],
        [make_perception(6), make_perception(2, 1)],
    )
    readings = answerer.read(images, perceptions)
    asked = [Question(QUESTIONS[0], Decoding(10)), Question(QUESTIONS[1], Decoding(10))]
    alone = [answerer.answer(r, q, SILENT) for r, q in zip(readings, asked, strict=True)]
    barrier = threading.Barrier(2)
    together = [None, None]

    def answer(i):
        barrier.wait(30)
        together[i] = answerer.answer(readings[i], asked[i], SILENT)

    threads = [threading.Thread(target=answer, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert together == alone
    assert alone[0].text != alone[1].text


@pytest.mark.parametrize("family", [tiny_llama, tiny_gemma2])
def test_frames_of_a_batch_are_answered_as_alone(family, tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones(family))
    counts = (5, 0, 1)
    images = [make_image(i) for i in range(3)]
    perceptions = [make_perception(count, i) for i, count in enumerate(counts)]
    together = answerer.read(images, perceptions)
    for image, perception, reading in zip(images, perceptions, together, strict=True):
        [alone] = answerer.read([image], [perception])
        question = Question("Is there a dog?", Decoding(6))
        answers = [answerer.answer(each, question, SILENT) for each in (alone, reading)]
        assert answers[0].text == answers[1].text
        assert answers[0].confidence == pytest.approx(answers[1].confidence, rel=1e-3)
        assert alone.enriched.fused.labels == reading.enriched.fused.labels
        assert alone.enriched.fused.scores == pytest.approx(
            reading.enriched.fused.scores, abs=1e-5
        )


def test_no_frames_give_no_readings(untrained):
    assert untrained.read([], []) == []


def test_a_model_that_is_not_trained_yet_leaves_detections_as_they_are_bit_for_bit(
    tiny_backbones, make_answerer
):
    answerer = make_answerer(tiny_backbones(), opened=False)
    perception = make_perception(12)
    [reading] = answerer.read([make_image()], [perception])
    enriched, candidates = reading.enriched, perception.candidates
    assert (enriched.fused.scores == candidates.scores).all()
    assert (enriched.fused.xyxy == candidates.xyxy).all()
    assert enriched.fused.labels == candidates.labels
    assert enriched.reported.tolist() == list(range(perception.reported))
    assert enriched.novelty.max() < 0.2
    assert enriched.attributes == color_attributes(make_image(), candidates)


def test_colors_are_measured_where_the_head_names_none(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones(), perception_outputs=["novelty"])
    red = np.zeros_like(make_image())
    red[..., 2] = 220
    [reading] = answerer.read([red], [make_perception(3)])
    assert [a.value for each in reading.enriched.attributes for a in each] == ["red"] * 3
    assert (reading.enriched.novelty > 0).all()


def test_a_trained_model_changes_them_and_keeps_what_the_detector_said(
    tiny_backbones, make_answerer
):
    answerer = make_answerer(tiny_backbones())
    perception = make_perception(12)
    [reading] = answerer.read([make_image()], [perception])
    enriched, candidates = reading.enriched, perception.candidates
    assert (enriched.fused.scores != candidates.scores).all()
    assert (enriched.fused.xyxy != candidates.xyxy).any()
    assert enriched.novelty.max() > 0
    assert enriched.detector is candidates
    expected = [i for i, score in enumerate(enriched.fused.scores) if score >= 0.45]
    assert enriched.reported.tolist() == expected


def test_objects_beyond_the_limit_are_left_to_the_detector(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones(), max_objects=4)
    perception = make_perception(7)
    [reading] = answerer.read([make_image()], [perception])
    scores = perception.candidates.scores
    assert (reading.enriched.fused.scores[:4] != scores[:4]).all()
    assert (reading.enriched.fused.scores[4:] == scores[4:]).all()


def test_labels_come_from_the_vocabulary_that_was_set(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones())
    perception = make_perception(8)
    [before] = answerer.read([make_image()], [perception])
    assert set(before.enriched.fused.labels) <= set(LABELS)
    answerer.set_vocabulary(["forklift"])
    with torch.no_grad():
        answerer.model.head.trust.fill_(-100.0)
    [after] = answerer.read([make_image()], [perception])
    assert set(after.enriched.fused.labels) == {"forklift"}


def test_a_vocabulary_without_a_label_is_refused(tiny_backbones, make_answerer):
    with pytest.raises(VocabularyError, match="at least one"):
        make_answerer(tiny_backbones()).set_vocabulary([" "])


def test_lower_precision_gives_about_the_same(tiny_backbones, make_answerer, compute):
    scores = []
    for dtype in (torch.float32, torch.bfloat16):
        backbones = tiny_backbones()
        backbones.language_model.model.to(dtype)
        encoder = VisualEncoder.load(VisualEncoderSettings(), replace(compute, dtype=dtype))
        answerer = make_answerer(replace(backbones, visual_encoder=encoder))
        with torch.no_grad():
            answerer.model.head.outputs["score"].weight.mul_(20)
        perception = make_perception(4)
        [reading] = answerer.read([make_image()], [perception])
        scores.append(reading.enriched.fused.scores)
        answer = answerer.answer(reading, Question("Who?", Decoding(4)), SILENT)
        assert 0 < answer.confidence <= 1
    assert scores[1] == pytest.approx(scores[0], abs=0.03)
    assert scores[0] != pytest.approx(perception.candidates.scores, abs=0.03)


def test_an_answer_cites_what_the_prompt_lists_and_nothing_else(
    tiny_backbones, make_answerer, monkeypatch
):
    answerer = make_answerer(tiny_backbones())
    perception = make_perception(8)
    assert perception.reported == 4
    [reading] = answerer.read([make_image()], [perception])
    cites = Generation("A person [2], another [6] and one [1].", 0.5, (1, 2), True)
    monkeypatch.setattr(mrmllm_answerer, "generate_text", lambda *_: cites)
    answer = answerer.answer(reading, Question("Who?", Decoding(8)), SILENT)
    assert answer.cited == (2, 1)
    assert (answer.tokens, answer.confidence, answer.truncated) == (2, 0.5, True)


def test_an_answer_streams_and_ends_at_the_token_after_which_it_shall_stop(
    tiny_backbones, make_answerer
):
    answerer = make_answerer(tiny_backbones())
    [reading] = answerer.read([make_image()], [make_perception(3)])
    pieces, asked = [], []

    def should_stop():
        asked.append(True)
        return len(asked) == 3

    answer = answerer.answer(
        reading, Question("Who?", Decoding(20)), Listener(pieces.append, should_stop)
    )
    assert answer.tokens == 3
    assert "".join(pieces).strip() == answer.text


def test_a_question_that_does_not_fit_into_the_context_is_refused_with_the_fix(untrained):
    [reading] = untrained.read([make_image()], [make_perception(2)])
    with pytest.raises(PromptTooLongError, match=r"room for 8192.*prompt\.token_budget"):
        untrained.answer(reading, Question("Who?", Decoding(8192)), SILENT)


def test_the_limits_of_the_prompt_may_change(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones())
    perception = make_perception(10)
    answerer.configure(PromptSettings(max_objects=2))
    [short] = answerer.read([make_image()], [perception])
    answerer.configure(PromptSettings())
    [long] = answerer.read([make_image()], [perception])
    assert (short.prefix().listed, long.prefix().listed) == (2, perception.reported)


def test_a_checkpoint_is_loaded_with_its_adapters_merged(
    tiny_backbones, make_model, make_answerer, tmp_path
):
    make_model(tiny_backbones(), lora_rank=2).save_pretrained(tmp_path)
    backbones = tiny_backbones()
    loaded = MrMllmAnswerer.load(
        MrMllmSettings(checkpoint=str(tmp_path)), PromptSettings(), backbones
    )
    assert loaded.state == "trained"
    reference = make_answerer(tiny_backbones(), lora_rank=2)
    readings = [
        answerer.read([make_image()], [make_perception(5)])[0] for answerer in (loaded, reference)
    ]
    assert readings[0].enriched.fused.scores == pytest.approx(
        readings[1].enriched.fused.scores, abs=1e-5
    )


def test_a_head_that_does_not_read_leaves_reading_to_questions(
    tiny_backbones, make_answerer, monkeypatch
):
    answerer = make_answerer(tiny_backbones(), head_reads=False)
    passes, read = [], answerer.model.read
    monkeypatch.setattr(answerer.model, "read", lambda *args: passes.append(0) or read(*args))
    frame, perception = make_image(), make_perception(5)
    [reading] = answerer.read([frame], [perception])
    assert not passes
    assert (reading.enriched.fused.scores != perception.candidates.scores).all()
    for _ in range(2):
        assert answerer.answer(reading, Question("Who?", Decoding(4)), SILENT).tokens
    assert len(passes) == 1


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
def test_a_head_reads_if_it_has_learnt_to_and_the_settings_let_it(
    trained, wanted, tiny_backbones, make_model, tmp_path
):
    make_model(tiny_backbones(), head_reads=trained).save_pretrained(tmp_path)
    settings = MrMllmSettings(checkpoint=str(tmp_path), head_reads=wanted)
    answerer = MrMllmAnswerer.load(settings, PromptSettings(), tiny_backbones())
    assert answerer.model.config.perceives_by_reading == (trained and wanted)
    [reading] = answerer.read([make_image()], [make_perception(5)])
    assert len(reading.enriched.novelty) == 5


def test_a_head_that_does_not_read_judges_as_one_that_reads_does_without_the_language_model(
    tiny_backbones, make_answerer
):
    backbones = tiny_backbones()
    answerer = make_answerer(backbones)
    frame, perception = make_image(), make_perception(5)
    [with_reading] = answerer.read([frame], [perception])
    with answerer.model.without("head_reads"):
        [without] = answerer.read([frame], [perception])
    with answerer.model.without("prefix_tokens"):
        [unread] = answerer.read([frame], [perception])
    np.testing.assert_allclose(without.enriched.fused.scores, unread.enriched.fused.scores)
    assert (without.enriched.fused.scores != with_reading.enriched.fused.scores).any()
