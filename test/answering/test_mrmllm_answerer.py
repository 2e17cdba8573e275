# SPDX-License-Identifier: Apache-2.0
import copy
import random
import threading
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from making import (
    LABELS,
    Recorder,
    make_frames,
    make_image,
    make_perception,
    tiny_gemma2,
    tiny_llama,
)

from mrmllm_ros.answering import mrmllm_answerer
from mrmllm_ros.answering.answerer import Decoding, PromptTooLongError, Question, SilentListener
from mrmllm_ros.answering.mrmllm_answerer import (
    MrMllmAnswerer,
)
from mrmllm_ros.detection.colors import color_attributes
from mrmllm_ros.detection.detections import LOOKS_LIKE, Attribute
from mrmllm_ros.detection.detector import FixedVocabularyError, VocabularyError
from mrmllm_ros.model.model_settings import MrMllmSettings, VisualEncoderSettings
from mrmllm_ros.model.processing_mrmllm import MrMllmProcessor, TextBatch
from mrmllm_ros.model.prompt import PERHAPS_THRESHOLD, PromptSettings, chat, describe_objects
from mrmllm_ros.model.visual_encoder import VisualEncoder

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
    generate = mrmllm_answerer.generate_answer

    def spy(*arguments):
        made.append(generate(*arguments))
        return made[-1]

    monkeypatch.setattr(mrmllm_answerer, "generate_answer", spy)
    return made


@pytest.fixture(scope="module")
def untrained(backbones):
    return MrMllmAnswerer.load(MrMllmSettings(""), PromptSettings(), backbones)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_without_a_checkpoint_answers_are_those_of_the_language_model_reading_the_prompt(
    count, untrained, language_model
):
    perception = make_perception(count)
    [encoded] = untrained.encode([make_image()], [perception])
    objects = describe_objects(
        perception.detections,
        PromptSettings(),
        language_model.count_tokens,
    )
    for question in QUESTIONS[:3]:
        answer = untrained.answer(encoded, Question(question, Decoding(12)), SilentListener())
        prompt = language_model.tokenizer.apply_chat_template(
            chat(objects.text, question),
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
    [encoded] = untrained.encode([make_image()], [perception])
    assert untrained.state == "untrained"
    assert encoded.enriched.fused is perception.candidates
    assert encoded.enriched.reported.tolist() == list(range(perception.reported))
    assert untrained.model.visual_encoder is None


def test_without_a_checkpoint_a_frame_is_read_when_the_first_question_comes_and_once(
    backbones, monkeypatch
):
    answerer = MrMllmAnswerer.load(MrMllmSettings(""), PromptSettings(), backbones)
    passes = []
    prefill = answerer.model.prefill
    monkeypatch.setattr(
        answerer.model, "prefill", lambda *frame: passes.append(frame) or prefill(*frame)
    )
    [encoded] = answerer.encode([make_image()], [make_perception(2)])
    assert not passes
    threads = [
        threading.Thread(
            target=answerer.answer, args=(encoded, Question("Who?", Decoding(2)), SilentListener())
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(passes) == 1


def test_without_a_checkpoint_labels_cannot_be_chosen(untrained):
    with pytest.raises(
        FixedVocabularyError, match=r"evidence\.visual_labels to always, or mrmllm\.checkpoint"
    ):
        untrained.set_vocabulary(["forklift"])


def test_a_head_that_is_not_trained_on_labels_cannot_choose_them(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones(), perception_outputs=["score", "novelty"])
    with pytest.raises(FixedVocabularyError, match="does not predict labels"):
        answerer.set_vocabulary(["forklift"])


@pytest.fixture
def label_fusion():
    """Calls every object a forklift, and lists the objects in reverse order."""

    def fuse_images(images, perceptions, step):
        assert len(images) == len(perceptions)
        return [fused(perception) for perception in perceptions]

    def fused(perception):
        count = len(perception.candidates)
        reason = (Attribute(LOOKS_LIKE, "tractor", 0.75),)
        forklifts = perception.with_labels(
            ["forklift"] * count, np.full(count, 0.5, np.float32), [reason] * count
        )
        return forklifts.take(np.arange(count)[::-1].copy())

    fusion = SimpleNamespace(labels=("forklift",), fuse_images=fuse_images)
    fusion.set_labels = partial(setattr, fusion, "labels")
    return fusion


@pytest.mark.parametrize("choices", [{"perception_outputs": []}, {}], ids=["no head", "head"])
def test_label_fusion_comes_before_the_head_and_the_prompt(
    choices, label_fusion, tiny_backbones, make_answerer
):
    answerer = make_answerer(tiny_backbones(), opened=False, **choices)
    answerer.label_fusion = label_fusion
    perception = make_perception(4)
    [encoded] = answerer.encode([make_image()], [perception])
    enriched = encoded.enriched
    assert enriched.fused.labels == ("forklift",) * 4
    assert enriched.detector.labels == perception.candidates.labels[::-1]
    np.testing.assert_array_equal(enriched.detector.scores, perception.candidates.scores[::-1])
    np.testing.assert_array_equal(enriched.detector.xyxy, perception.candidates.xyxy[::-1])
    for own in enriched.attributes:
        assert Attribute(LOOKS_LIKE, "tractor", 0.75) in own
    # All scores are above the threshold.
    assert encoded.prefilled().citable == {1, 2, 3, 4}


def test_labels_can_be_chosen_with_label_fusion(label_fusion, tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones(), perception_outputs=["score", "novelty"])
    assert answerer.labels == ()
    answerer.label_fusion = label_fusion
    assert answerer.labels == ("forklift",)
    answerer.set_vocabulary(["pallet", " pallet ", "forklift"])
    assert answerer.labels == label_fusion.labels == ("pallet", "forklift")
    assert answerer.processor.vocabulary == ("pallet", "forklift")
    with pytest.raises(VocabularyError, match="name at least one label"):
        answerer.set_vocabulary([])
    assert answerer.labels == ("pallet", "forklift")


def uncached_choice(answerer, backbones, frame, question, token_ids):
    """The token that one pass over everything, without any cache, puts at each place."""
    model = answerer.model
    processor = MrMllmProcessor(model.config, backbones, PromptSettings())
    frames = make_frames(processor, [frame[0]], [frame[1]])
    ids = processor.chat.question_ids(question.strip() or "Describe the scene.")
    whole = torch.cat([ids, torch.tensor(token_ids)])[None]
    with torch.inference_mode():
        texts = TextBatch(whole, torch.zeros_like(whole))
        output = model(frames, processor.chat.system_prompt_ids, texts)
    return output.logits[0, len(ids) - 1 : -1].argmax(-1).tolist()


def test_ten_questions_in_any_order_get_token_for_token_what_an_uncached_pass_gives(
    backbones, make_answerer, generations
):
    answerer = make_answerer(backbones)
    frame = make_image(), make_perception(6)
    [encoded] = answerer.encode([frame[0]], [frame[1]])
    before = copy.deepcopy(encoded.prefilled().past_key_values)
    shuffled = random.Random(3).sample(QUESTIONS, len(QUESTIONS))
    for question in shuffled:
        answerer.answer(encoded, Question(question, Decoding(8)), SilentListener())
        token_ids = list(generations[-1].token_ids)
        assert uncached_choice(answerer, backbones, frame, question, token_ids) == token_ids
    for layer, untouched in zip(
        encoded.prefilled().past_key_values.layers, before.layers, strict=True
    ):
        assert torch.equal(layer.keys, untouched.keys)
        assert torch.equal(layer.values, untouched.values)


def test_two_questions_at_once_get_what_each_alone_gets(backbones, make_answerer):
    answerer = make_answerer(backbones)
    images, perceptions = (
        [make_image(0), make_image(1)],
        [make_perception(6), make_perception(2, 1)],
    )
    encoded_images = answerer.encode(images, perceptions)
    asked = [Question(QUESTIONS[0], Decoding(10)), Question(QUESTIONS[1], Decoding(10))]
    alone = [
        answerer.answer(encoded, question, SilentListener())
        for encoded, question in zip(encoded_images, asked, strict=True)
    ]
    barrier = threading.Barrier(2)
    together = [None, None]

    def answer(i):
        barrier.wait(30)
        together[i] = answerer.answer(encoded_images[i], asked[i], SilentListener())

    threads = [threading.Thread(target=answer, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert together == alone
    assert alone[0].text != alone[1].text


def test_steps_do_not_change_the_objects(backbones, make_answerer):
    answerer = make_answerer(backbones)
    steps = []

    def step(name):
        steps.append(name)
        return nullcontext()

    image, perception = make_image(), make_perception(5)
    [cut] = answerer.encode([image], [perception], step)
    [whole] = answerer.encode([image], [perception])
    assert steps == ["colors", "image", "head"]
    assert cut.enriched.fused.labels == whole.enriched.fused.labels
    np.testing.assert_array_equal(cut.enriched.fused.scores, whole.enriched.fused.scores)


def test_a_prefilled_image_is_not_prefilled_for_questions(backbones, make_answerer, monkeypatch):
    answerer = make_answerer(backbones, head_uses_language_model=False)
    prefills = []
    prefill = answerer.model.prefill
    monkeypatch.setattr(
        answerer.model, "prefill", lambda *frame: prefills.append(frame) or prefill(*frame)
    )
    [encoded] = answerer.encode([make_image()], [make_perception(2)])
    assert len(prefills) == 0
    encoded.prefill()
    encoded.prefill()
    for question in QUESTIONS[:2]:
        answerer.answer(encoded, Question(question, Decoding(2)), SilentListener())
    assert len(prefills) == 1


@pytest.mark.parametrize("family", [tiny_llama, tiny_gemma2])
def test_frames_of_a_batch_are_answered_as_alone(family, tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones(family))
    counts = (5, 0, 1)
    images = [make_image(i) for i in range(3)]
    perceptions = [make_perception(count, i) for i, count in enumerate(counts)]
    together = answerer.encode(images, perceptions)
    for image, perception, encoded in zip(images, perceptions, together, strict=True):
        [alone] = answerer.encode([image], [perception])
        question = Question("Is there a dog?", Decoding(6))
        answers = [answerer.answer(each, question, SilentListener()) for each in (alone, encoded)]
        assert answers[0].text == answers[1].text
        assert answers[0].confidence == pytest.approx(answers[1].confidence, rel=1e-3)
        assert alone.enriched.fused.labels == encoded.enriched.fused.labels
        assert alone.enriched.fused.scores == pytest.approx(
            encoded.enriched.fused.scores, abs=1e-5
        )


def test_no_frames_give_no_readings(untrained):
    assert untrained.encode([], []) == []


def test_a_model_that_is_not_trained_yet_leaves_detections_as_they_are_bit_for_bit(
    tiny_backbones, make_answerer
):
    answerer = make_answerer(tiny_backbones(), opened=False)
    perception = make_perception(12)
    [encoded] = answerer.encode([make_image()], [perception])
    enriched, candidates = encoded.enriched, perception.candidates
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
    [encoded] = answerer.encode([red], [make_perception(3)])
    assert [a.value for each in encoded.enriched.attributes for a in each] == ["red"] * 3
    assert (encoded.enriched.novelty > 0).all()


def test_a_trained_model_changes_them_and_keeps_what_the_detector_said(
    tiny_backbones, make_answerer
):
    answerer = make_answerer(tiny_backbones())
    perception = make_perception(12)
    [encoded] = answerer.encode([make_image()], [perception])
    enriched, candidates = encoded.enriched, perception.candidates
    assert (enriched.fused.scores != candidates.scores).all()
    assert (enriched.fused.xyxy != candidates.xyxy).any()
    assert enriched.novelty.max() > 0
    assert enriched.detector is candidates
    expected = [i for i, score in enumerate(enriched.fused.scores) if score >= 0.45]
    assert enriched.reported.tolist() == expected


def test_objects_beyond_the_limit_are_left_to_the_detector(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones(), max_objects=4)
    perception = make_perception(7)
    [encoded] = answerer.encode([make_image()], [perception])
    scores = perception.candidates.scores
    assert (encoded.enriched.fused.scores[:4] != scores[:4]).all()
    assert (encoded.enriched.fused.scores[4:] == scores[4:]).all()


def test_labels_come_from_the_vocabulary_that_was_set(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones())
    perception = make_perception(8)
    [before] = answerer.encode([make_image()], [perception])
    assert set(before.enriched.fused.labels) <= set(LABELS)
    answerer.set_vocabulary(["forklift"])
    with torch.no_grad():
        answerer.model.head.trust.fill_(-100.0)
    [after] = answerer.encode([make_image()], [perception])
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
        [encoded] = answerer.encode([make_image()], [perception])
        scores.append(encoded.enriched.fused.scores)
        answer = answerer.answer(encoded, Question("Who?", Decoding(4)), SilentListener())
        assert 0 < answer.confidence <= 1
    # The weights of the head are amplified above.
    assert scores[1] == pytest.approx(scores[0], abs=0.1)
    assert scores[0] != pytest.approx(perception.candidates.scores, abs=0.1)


def test_an_answer_cites_what_the_prompt_lists_and_nothing_else(
    tiny_backbones, make_answerer, monkeypatch
):
    answerer = make_answerer(tiny_backbones(), doubtful_objects=True)
    perception = make_perception(8)
    assert perception.reported == 4
    assert set(perception.doubtful(PERHAPS_THRESHOLD)) == {5, 6}
    [encoded] = answerer.encode([make_image()], [perception])
    given = []
    monkeypatch.setattr(mrmllm_answerer, "generate_answer", lambda *inputs: given.append(inputs))
    answerer.answer(encoded, Question("Who?", Decoding(8)), SilentListener())
    assert given[0][-1] == {1, 2, 3, 4, 5, 6}


def test_an_answer_streams_and_ends_at_the_token_after_which_it_shall_stop(
    tiny_backbones, make_answerer
):
    answerer = make_answerer(tiny_backbones())
    [encoded] = answerer.encode([make_image()], [make_perception(3)])
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) == 3

    recorder = Recorder(should_stop)
    answer = answerer.answer(encoded, Question("Who?", Decoding(20)), recorder)
    assert answer.tokens == 3
    assert "".join(recorder.pieces).strip() == answer.text


def test_a_question_that_does_not_fit_into_the_context_is_refused_with_the_fix(untrained):
    [encoded] = untrained.encode([make_image()], [make_perception(2)])
    with pytest.raises(PromptTooLongError, match=r"holds 8192.*prompt\.token_budget"):
        untrained.answer(encoded, Question("Who?", Decoding(8192)), SilentListener())


def test_the_limits_of_the_prompt_may_change(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones(), doubtful_objects=True)
    perception = make_perception(10)
    answerer.configure(PromptSettings(max_objects=2))
    [short] = answerer.encode([make_image()], [perception])
    answerer.configure(PromptSettings())
    [long] = answerer.encode([make_image()], [perception])
    assert short.prefilled().citable == {1, 2}
    # The last two are unlikely.
    assert long.prefilled().citable == {*range(1, 9)}
    answerer.configure(PromptSettings(perhaps_threshold=1.0))
    [certain] = answerer.encode([make_image()], [perception])
    assert certain.prefilled().citable == {*range(1, perception.reported + 1)}


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
    encoded_images = [
        answerer.encode([make_image()], [make_perception(5)])[0]
        for answerer in (loaded, reference)
    ]
    assert encoded_images[0].enriched.fused.scores == pytest.approx(
        encoded_images[1].enriched.fused.scores, abs=1e-5
    )


def test_a_head_that_does_not_read_leaves_reading_to_questions(
    tiny_backbones, make_answerer, monkeypatch
):
    answerer = make_answerer(tiny_backbones(), head_uses_language_model=False)
    passes, prefill = [], answerer.model.prefill
    monkeypatch.setattr(
        answerer.model, "prefill", lambda *args: passes.append(0) or prefill(*args)
    )
    frame, perception = make_image(), make_perception(5)
    [encoded] = answerer.encode([frame], [perception])
    assert not passes
    assert (encoded.enriched.fused.scores != perception.candidates.scores).all()
    for _ in range(2):
        assert answerer.answer(encoded, Question("Who?", Decoding(4)), SilentListener()).tokens
    assert len(passes) == 1


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
def test_a_head_reads_if_it_has_learnt_to_and_the_settings_let_it(
    trained, wanted, tiny_backbones, make_model, tmp_path
):
    make_model(tiny_backbones(), head_uses_language_model=trained).save_pretrained(tmp_path)
    settings = MrMllmSettings(checkpoint=str(tmp_path), head_uses_language_model=wanted)
    answerer = MrMllmAnswerer.load(settings, PromptSettings(), tiny_backbones())
    assert answerer.model.config.head_needs_language_model == (trained and wanted)
    [encoded] = answerer.encode([make_image()], [make_perception(5)])
    assert len(encoded.enriched.novelty) == 5


def test_a_head_that_does_not_read_judges_as_one_that_reads_does_without_the_language_model(
    tiny_backbones, make_answerer
):
    backbones = tiny_backbones()
    answerer = make_answerer(backbones)
    frame, perception = make_image(), make_perception(5)
    [with_language_model] = answerer.encode([frame], [perception])
    with answerer.model.without("head_uses_language_model"):
        [without] = answerer.encode([frame], [perception])
    with answerer.model.without("prefix_tokens"):
        [without_language_model] = answerer.encode([frame], [perception])
    np.testing.assert_allclose(
        without.enriched.fused.scores, without_language_model.enriched.fused.scores
    )
    assert (without.enriched.fused.scores != with_language_model.enriched.fused.scores).any()


def test_a_context_changes_the_system_prompt_of_the_next_frames(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones())
    perception, lengths = make_perception(3), []
    length = answerer.system_prompt_length
    [before] = answerer.encode([make_image()], [perception])
    before.prefill()
    for context in ("a hospital corridor", ""):
        answerer.set_context(context)
        [encoded] = answerer.encode([make_image()], [perception])
        lengths.append(encoded.prefilled().attention_mask.shape[1])
    own = before.prefilled()
    assert lengths[0] > lengths[1] == own.attention_mask.shape[1]
    assert answerer.system_prompt_length == length
    again = encoded.prefilled()
    for one, other in zip(own.past_key_values.layers, again.past_key_values.layers, strict=True):
        assert torch.equal(one.keys, other.keys)


def test_the_system_prompt_is_computed_again_for_another_context_alone(
    tiny_backbones, make_answerer, monkeypatch
):
    answerer, passes = make_answerer(tiny_backbones()), []
    prefill = answerer.model.prefill_system_prompt
    monkeypatch.setattr(
        answerer.model,
        "prefill_system_prompt",
        lambda ids: passes.append(ids) or prefill(ids),
    )
    for context in ("", "a kitchen", "a kitchen"):
        answerer.set_context(context)
        assert not passes
    for _ in range(2):
        [encoded] = answerer.encode([make_image()], [make_perception(2)])
        encoded.prefill()
    assert len(passes) == 1


def test_the_context_of_a_question_does_not_change_the_frame(tiny_backbones, make_answerer):
    answerer = make_answerer(tiny_backbones())
    [encoded] = answerer.encode([make_image()], [make_perception(3)])
    plain, known = Question("Who?", Decoding(4)), Question("Who?", Decoding(4), "a ward")
    alone = answerer.answer(encoded, plain, SilentListener())
    written_out = Question("Context: a ward\nWho?", Decoding(4))
    assert answerer.answer(encoded, known, SilentListener()) == answerer.answer(
        encoded, written_out, SilentListener()
    )
    assert answerer.answer(encoded, plain, SilentListener()) == alone


def test_a_context_reaches_the_fusion_of_labels(tiny_backbones, make_answerer):
    answerer, contexts = make_answerer(tiny_backbones()), []
    answerer.label_fusion = SimpleNamespace(context=SimpleNamespace(set_context=contexts.append))
    answerer.set_context("a ward")
    answerer.set_context("a ward")
    answerer.set_context("")
    assert contexts == ["a ward", ""]
