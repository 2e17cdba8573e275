# SPDX-License-Identifier: Apache-2.0
import itertools
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fakes import (
    PATIENCE_S,
    collect_answers,
    decode,
    engine_threads,
    explain_silence,
    make_frame,
    perceive,
)

from mrmllm_ros.detection.detector import (
    DetectorSettings,
    FixedVocabularyError,
    VocabularyError,
)
from mrmllm_ros.detection.raw_objects import OUTSIDE
from mrmllm_ros.detection.tracker import Tracker
from mrmllm_ros.engine.engine import Engine
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.engine.models import Models
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import AnswerType, QuestionRequest

# Only questions enrich scenes.
SETTINGS = Settings.from_mapping(
    {
        "enrich_rate_hz": 0.0,
        "question": {"max_new_tokens": 3, "image_timeout_s": 0.0, "parallel": 2},
    }
)
# All scenes are enriched.
FLOWING = replace(SETTINGS, enrich_rate_hz=1000.0)


@pytest.fixture
def make_engine(detector, answerer, clock, scenes, enriched, answers, unusable, errors):
    """Function that makes a started engine, stopped after the test."""
    engines = []

    def make(*cameras, settings=SETTINGS, answerer=answerer, on_cpu=False):
        listener = SimpleNamespace(
            decode=decode,
            on_scene=scenes.put,
            on_enriched=enriched.put,
            on_image_error=lambda camera, error: unusable.put((camera, error)),
            on_failure=errors.put,
            explain_silence=explain_silence,
        )
        numbers = itertools.count(1)
        trackers = {camera: Tracker(settings.tracking, numbers) for camera in cameras}
        engine = Engine(
            Models(detector, answerer), settings, trackers, clock, listener, on_cpu=on_cpu
        )
        engine.start()
        engine.ask = collect_answers(engine.ask, answers)
        engines.append(engine)
        return engine

    yield make
    for gate in (detector.gate, answerer.encode_gate, answerer.gate):
        gate.open()
    for engine in engines:
        engine.stop()


@pytest.fixture
def engine(make_engine):
    return make_engine("front")


@pytest.fixture
def flowing(make_engine):
    """Engine that enriches all scenes."""
    return make_engine("front", settings=FLOWING)


@pytest.fixture
def see(scenes):
    """Let an engine process an image and wait for its scene."""

    def see(engine, image, camera="front"):
        engine.offer(camera, image)
        return scenes.next()

    return see


def label(scene):
    [label] = scene.perception.detections.labels
    return label


def code_of(pending):
    error = pending.exception(PATIENCE_S)
    assert isinstance(error, QueryError), error
    return error.code


def ask(engine, **request):
    return engine.ask(QuestionRequest("?", **request)).result(PATIENCE_S)


def test_an_image_gives_a_scene_and_a_question_an_answer_about_it(engine, see, answers, answerer):
    scene = see(engine, 7)
    assert label(scene) == "object 7"
    answer = ask(engine)
    assert answer.enriched_scene.scene is scene
    assert answer.answer.text == "0 1 2"
    assert answers.next() is answer
    assert answerer.answered_images == [answer.enriched_scene.encoded]
    assert answer.enriched_scene.encoded.enriched.fused is scene.perception.candidates


def test_an_answer_is_about_the_newest_scene(engine, see):
    see(engine, 7)
    newest = see(engine, 8)
    assert ask(engine).enriched_scene.scene is newest


def test_the_text_is_streamed(engine, see):
    see(engine, 7)
    pieces = []
    engine.ask(QuestionRequest("?"), pieces.append).result(PATIENCE_S)
    assert pieces == ["0 ", "1 ", "2 "]


def test_detections_keep_flowing_while_a_question_is_answered(engine, see, answerer):
    see(engine, 1)
    answerer.gate.close()
    pending = engine.ask(QuestionRequest("?"))
    answerer.started.next()
    assert [label(see(engine, value)) for value in (2, 3, 4)] == [
        "object 2",
        "object 3",
        "object 4",
    ]
    assert not pending.done()
    answerer.gate.open()
    assert label(pending.result(PATIENCE_S).enriched_scene.scene) == "object 1"


def test_questions_are_answered_while_the_detector_is_busy(engine, see, detector):
    scene = see(engine, 1)
    assert detector.started.next() == 1
    detector.gate.close()
    engine.offer("front", 2)
    assert detector.started.next() == 2
    assert ask(engine).enriched_scene.scene is scene


def test_an_image_replaced_before_its_turn_is_counted_as_dropped(engine, scenes, detector):
    detector.gate.close()
    engine.offer("front", 1)
    detector.started.next()
    for value in (2, 3, 4):
        engine.offer("front", value)
    detector.gate.open()
    assert [label(scenes.next()) for _ in range(2)] == ["object 1", "object 4"]
    assert engine.statistics().cameras["front"].dropped == 2


def test_failures_are_reported_and_all_workers_continue(
    engine, see, detector, answerer, unusable, errors
):
    detector.fails_on, answerer.fails_on = {6}, {"bad"}
    engine.offer("front", "a shoe")
    camera, error = unusable.next()
    assert camera == "front"
    assert "a shoe" in str(error)
    engine.offer("front", 6)
    assert "cannot detect in 6" in str(errors.next())
    see(engine, 5)
    answerer.fails_to_encode = {5}
    assert code_of(engine.ask(QuestionRequest("?"))) is ErrorCode.INTERNAL
    assert "cannot encode 5" in str(errors.next())
    scene = see(engine, 7)
    assert code_of(engine.ask(QuestionRequest("bad"))) is ErrorCode.INTERNAL
    assert "cannot answer 'bad'" in str(errors.next())
    assert ask(engine).enriched_scene.scene is scene


def test_arriving_scenes_are_enriched(flowing, see, enriched, answerer):
    for value in (1, 2):
        scene = see(flowing, value)
        assert enriched.next().scene is scene
    assert answerer.encode_threads == {"enrichment"}


def test_detections_continue_while_a_fusion_pass_hangs(flowing, see, enriched, answerer):
    answerer.encode_gate.close()
    first = see(flowing, 1)
    assert answerer.encoded.next() == 1
    assert [label(see(flowing, value)) for value in (2, 3)] == ["object 2", "object 3"]
    last = see(flowing, 4)
    assert enriched.empty()
    answerer.encode_gate.open()
    assert enriched.next().scene is first
    assert enriched.next().scene is last


def test_questions_about_an_enriched_scene_are_answered_while_the_next_pass_hangs(
    flowing, see, enriched, answerer
):
    see(flowing, 1)
    known = enriched.next()
    assert answerer.encoded.next() == 1
    answerer.encode_gate.close()
    see(flowing, 2)
    assert answerer.encoded.next() == 2
    assert ask(flowing).enriched_scene is known


def test_on_a_cpu_arriving_scenes_are_enriched(make_engine, see, enriched):
    engine = make_engine("front", settings=FLOWING, on_cpu=True)
    for value in (1, 2):
        scene = see(engine, value)
        assert enriched.next().scene is scene


def test_on_a_cpu_a_question_is_answered_during_a_fusion_pass(
    make_engine, see, enriched, answerer
):
    def encode_in_steps(images, perceptions, step):
        with step("crops"):
            started.set()
            assert asked.wait(PATIENCE_S)
        # Waits for the question, which waits for this pass.
        with step("crops"):
            return encode(images, perceptions)

    started, asked, encode = threading.Event(), threading.Event(), answerer.encode
    answerer.encode = encode_in_steps
    engine = make_engine("front", settings=FLOWING, on_cpu=True)
    scene = see(engine, 1)
    assert started.wait(PATIENCE_S)
    pending = engine.ask(QuestionRequest("?"))
    asked.set()
    assert pending.result(PATIENCE_S).enriched_scene.scene is scene
    assert answerer.encode_threads == {"enrichment"}


def test_on_a_cpu_images_beyond_the_rate_under_questions_are_dropped(
    make_engine, see, answerer, scenes
):
    slow = replace(SETTINGS, detector=DetectorSettings(rate_under_questions_hz=1e-6))
    engine = make_engine("front", settings=slow, on_cpu=True)
    see(engine, 1)
    answerer.gate.close()
    pending = engine.ask(QuestionRequest("?"))
    answerer.started.next()
    for value in (2, 3):
        see(engine, value)
    engine.offer("front", 4)
    images = engine.statistics().cameras["front"]
    assert (images.received, images.dropped, images.processed) == (4, 1, 3)
    engine.configure(SETTINGS)
    answerer.gate.open()
    pending.result(PATIENCE_S)
    assert label(see(engine, 5)) == "object 5"


def test_the_time_of_fusion_passes_is_counted(make_engine, see, enriched, answerer):
    def encode(images, perceptions, step):
        with step("crops"):
            return encode_at_once(images, perceptions)

    encode_at_once, answerer.encode = answerer.encode, encode
    engine = make_engine("front", settings=FLOWING)
    see(engine, 1)
    enriched.next()
    assert engine.statistics().enrichment_s > 0


def test_a_failing_fusion_pass_is_reported_and_the_next_scene_is_enriched(
    flowing, see, enriched, answerer, errors
):
    answerer.fails_to_encode = {6}
    see(flowing, 6)
    assert "cannot encode 6" in str(errors.next())
    scene = see(flowing, 7)
    assert enriched.next().scene is scene


def test_at_rate_0_only_questions_enrich_scenes(engine, see, enriched, answerer):
    see(engine, 1)
    see(engine, 2)
    assert answerer.encoded.empty()
    answer = ask(engine)
    assert label(answer.enriched_scene.scene) == "object 2"
    assert enriched.next() is answer.enriched_scene
    assert answerer.encoded.next() == 2
    assert answerer.encode_threads <= {"questions-0", "questions-1"}


def test_an_enriched_scene_is_used_for_questions_until_it_is_too_old(engine, see, clock, answerer):
    first = see(engine, make_frame(1, stamp_ns=clock()))
    assert ask(engine).enriched_scene.scene is first
    clock.advance(1)
    second = see(engine, make_frame(2, stamp_ns=clock()))
    assert ask(engine).enriched_scene.scene is first
    assert ask(engine, max_age_s=0.5).enriched_scene.scene is second
    assert ask(engine).enriched_scene.scene is second
    assert [answerer.encoded.next() for _ in range(2)] == [1, 2]
    assert answerer.encoded.empty()


def test_the_worker_and_two_questions_enrich_a_scene_once(flowing, see, enriched, answerer):
    answerer.encode_gate.close()
    see(flowing, 1)
    assert answerer.encoded.next() == 1
    pending = [flowing.ask(QuestionRequest("?")) for _ in range(2)]
    answerer.encode_gate.open()
    first, second = (question.result(PATIENCE_S) for question in pending)
    assert first.enriched_scene is second.enriched_scene is enriched.next()
    assert answerer.encoded.empty()
    assert enriched.empty()


def test_two_questions_are_answered_at_the_same_time(engine, see, answerer):
    see(engine, 1)
    answerer.gate.close()
    pending = [engine.ask(QuestionRequest(text)) for text in ("first", "second")]
    assert {answerer.started.next(), answerer.started.next()} == {"first", "second"}
    assert not any(question.done() for question in pending)
    answerer.gate.open()
    assert [question.result(PATIENCE_S).answer.tokens for question in pending] == [3, 3]


def test_a_cancelled_question_fails_immediately_without_an_answer(engine, see, answerer, answers):
    see(engine, 1)
    answerer.gate.close()
    pending = engine.ask(QuestionRequest("?"))
    answerer.started.next()
    engine.cancel(pending)
    assert pending.done()
    assert code_of(pending) is ErrorCode.CANCELLED
    answerer.gate.open()
    assert ask(engine) is answers.next()
    assert answers.empty()


def test_before_the_first_image_there_is_nothing_to_ask_about(engine):
    assert code_of(engine.ask(QuestionRequest("?"))) is ErrorCode.NO_IMAGE


def test_an_image_without_stamp_ages_from_its_receipt(engine, see, clock):
    scene = see(engine, make_frame(7, stamp_ns=0, received_ns=clock()))
    clock.advance(1)
    assert ask(engine).enriched_scene.scene is scene
    clock.advance(10)
    assert code_of(engine.ask(QuestionRequest("?"))) is ErrorCode.STALE_IMAGE


def test_after_a_jump_back_in_time_only_a_new_image_is_used(engine, see, clock):
    see(engine, make_frame(1, stamp_ns=clock()))
    clock.advance(-500)
    assert code_of(engine.ask(QuestionRequest("?"))) is ErrorCode.STALE_IMAGE
    scene = see(engine, make_frame(2, stamp_ns=clock()))
    assert ask(engine).enriched_scene.scene is scene


@pytest.mark.parametrize("settings", [SETTINGS, FLOWING], ids=["asked", "flowing"])
def test_after_a_jump_back_in_time_an_enriched_scene_gives_way_to_a_new_one(
    settings, make_engine, see, clock
):
    engine = make_engine("front", settings=settings)
    see(engine, make_frame(1, stamp_ns=clock()))
    ask(engine)
    clock.advance(-500)
    assert code_of(engine.ask(QuestionRequest("?"))) is ErrorCode.STALE_IMAGE
    scene = see(engine, make_frame(2, stamp_ns=clock()))
    assert ask(engine).enriched_scene.scene is scene


def test_each_camera_has_its_own_newest_scene(make_engine, see):
    engine = make_engine("front", "rear")
    front = see(engine, make_frame(1, "front"))
    rear = see(engine, make_frame(2, "rear"), "rear")
    assert ask(engine, camera="front").enriched_scene.scene is front
    assert ask(engine, camera="rear").enriched_scene.scene is rear
    with pytest.raises(QueryError, match="cameras: front, rear"):
        ask(engine)


def test_images_are_counted_by_camera_and_outcome(make_engine, see, unusable, errors, detector):
    engine = make_engine("front", "rear")
    see(engine, make_frame(1, "front"))
    engine.offer("front", "a shoe")
    unusable.next()
    detector.fails_on = {6}
    engine.offer("front", 6)
    errors.next()
    detector.gate.close()
    engine.offer("front", 7)
    for _ in range(3):
        detector.started.next()
    engine.offer("front", 8)
    engine.offer("front", 9)
    front, rear = (engine.statistics().cameras[camera] for camera in ("front", "rear"))
    assert (front.received, front.processed, front.dropped) == (6, 1, 1)
    assert (front.unusable, front.failed) == (1, 1)
    assert (rear.received, rear.processed, rear.latency, rear.age_s) == (0, 0, None, None)


def test_latency_and_age_are_those_of_the_newest_results(engine, see, enriched, unusable, clock):
    assert engine.statistics().cameras["front"].latency is None
    scene = see(engine, make_frame(1, stamp_ns=clock()))
    ask(engine)
    # When the next image is started, the first has been counted.
    engine.offer("front", "a shoe")
    unusable.next()
    clock.advance(3)
    front = engine.statistics().cameras["front"]
    assert front.latency.median_s == front.latency.p95_s == scene.latency_s
    assert front.enriched == 1
    assert front.enriched_latency.median_s == enriched.next().latency_s
    assert front.age_s == 3


def test_questions_are_counted_by_outcome(engine, see, answerer):
    assert code_of(engine.ask(QuestionRequest("?"))) is ErrorCode.NO_IMAGE
    see(engine, 1)
    answer = ask(engine)
    unsupported = QuestionRequest("?", answer_type=AnswerType.COUNT)
    for refused in (QuestionRequest("bell \a"), QuestionRequest("?", camera="top"), unsupported):
        with pytest.raises(QueryError):
            engine.ask(refused)
    answerer.gate.close()
    pending = [engine.ask(QuestionRequest("?")) for _ in range(3)]
    for _ in range(3):
        answerer.started.next()
    engine.cancel(pending[0])
    questions = engine.statistics().questions
    assert (questions.answered, questions.failed, questions.rejected) == (1, 1, 3)
    assert (questions.cancelled, questions.waiting) == (1, 1)
    assert questions.latency.median_s == answer.latency_s
    answerer.gate.open()


def test_a_question_to_a_disabled_engine_counts_as_rejected(engine):
    engine.enabled = False
    with pytest.raises(QueryError):
        engine.ask(QuestionRequest("?"))
    assert engine.statistics().questions.rejected == 1


def test_the_newest_failure_is_remembered_with_its_camera(engine, see, unusable, errors, detector):
    assert engine.statistics().last_error == ""
    engine.offer("front", "a shoe")
    unusable.next()
    assert engine.statistics().last_error.startswith("unusable image of camera front: 'a shoe'")
    detector.fails_on = {6}
    engine.offer("front", 6)
    errors.next()
    see(engine, 7)
    assert "cannot detect in 6" in engine.statistics().last_error


def test_a_disabled_engine_takes_no_images(engine, scenes, detector):
    detector.gate.close()
    engine.offer("front", 1)
    detector.started.next()
    engine.enabled = False
    engine.offer("front", 2)
    engine.enabled = True
    engine.offer("front", 3)
    detector.gate.open()
    assert [label(scenes.next()) for _ in range(2)] == ["object 1", "object 3"]
    assert engine.statistics().cameras["front"].dropped == 0


def test_a_disabled_engine_takes_no_questions(engine, see):
    see(engine, 1)
    engine.enabled = False
    with pytest.raises(QueryError, match="perception is disabled") as error:
        engine.ask(QuestionRequest("?"))
    assert error.value.code is ErrorCode.NOT_ACTIVE
    engine.enabled = True
    assert label(ask(engine).enriched_scene.scene) == "object 1"


def test_changed_settings_reach_both_models_and_the_next_question(engine, see, detector, answerer):
    see(engine, 1)
    settings = replace(
        SETTINGS,
        question=replace(SETTINGS.question, max_new_tokens=5),
        mrmllm=replace(SETTINGS.mrmllm, context="a kitchen"),
    )
    engine.configure(settings)
    assert detector.settings is settings.detector
    assert answerer.settings is settings.prompt
    assert answerer.context == "a kitchen"
    assert ask(engine).answer.tokens == 5


def test_a_changed_rate_counts_from_the_next_scene_on(engine, see, enriched):
    see(engine, 1)
    engine.configure(FLOWING)
    scene = see(engine, 2)
    assert enriched.next().scene is scene


def test_live_settings_that_changed_after_the_models_were_loaded_reach_them(
    make_engine, detector, answerer
):
    make_engine("front")
    assert detector.settings is SETTINGS.detector
    assert answerer.settings is SETTINGS.prompt


LABELS = ("forklift", "pallet")


def test_a_vocabulary_is_set_in_both_models_in_another_thread(engine, detector, answerer):
    assert engine.set_vocabulary(list(LABELS)).result(PATIENCE_S) is None
    assert detector.labels == LABELS
    assert answerer.labels == LABELS
    assert detector.vocabulary_threads == {"vocabulary_0"}


def test_setting_a_vocabulary_returns_immediately_while_the_detector_is_busy(
    engine, detector, answerer
):
    detector.gate.close()
    engine.offer("front", 1)
    detector.started.next()
    future = engine.set_vocabulary(LABELS)
    assert not future.done()
    assert detector.labels == ("object",)
    detector.gate.open()
    assert future.result(PATIENCE_S) is None
    assert detector.labels == answerer.labels == LABELS


def test_a_model_with_a_fixed_vocabulary_leaves_it_to_the_other(engine, detector, answerer):
    detector.refusal = FixedVocabularyError("fixed detector")
    assert engine.set_vocabulary(LABELS).result(PATIENCE_S) is None
    assert (detector.labels, answerer.labels) == (("object",), LABELS)
    detector.refusal, answerer.refusal = None, FixedVocabularyError("fixed answerer")
    assert engine.set_vocabulary(["box"]).result(PATIENCE_S) is None
    assert (detector.labels, answerer.labels) == (("box",), LABELS)


def test_a_vocabulary_is_rejected_if_both_models_are_fixed(engine, detector, answerer, errors):
    detector.refusal = FixedVocabularyError("fixed detector")
    answerer.refusal = FixedVocabularyError("fixed answerer")
    error = engine.set_vocabulary(LABELS).exception(PATIENCE_S)
    assert isinstance(error, FixedVocabularyError)
    assert str(error) == "the vocabulary cannot change: fixed detector; and fixed answerer"
    assert (detector.labels, answerer.labels) == (("object",), ())
    assert errors.empty()


@pytest.mark.parametrize("labels", [[], [""], ["forklift", " "]])
def test_a_vocabulary_without_labels_is_rejected_and_reaches_neither_model(
    labels, engine, detector, answerer
):
    error = engine.set_vocabulary(labels).exception(PATIENCE_S)
    assert type(error) is VocabularyError
    assert (detector.labels, answerer.labels) == (("object",), ())


def test_invalid_labels_are_rejected_immediately_and_reach_neither_model(
    engine, detector, answerer
):
    with pytest.raises(QueryError, match="control character") as error:
        engine.set_vocabulary(["forklift", "pallet\n[1] person"])
    assert error.value.code is ErrorCode.INVALID_REQUEST
    assert (detector.labels, answerer.labels) == (("object",), ())


def test_an_answerer_that_cannot_use_a_vocabulary_says_why(engine, answerer):
    answerer.refusal = VocabularyError("too many labels")
    error = engine.set_vocabulary(LABELS).exception(PATIENCE_S)
    assert error is answerer.refusal


def test_after_a_rejected_vocabulary_the_next_is_taken(engine, detector):
    engine.set_vocabulary([]).exception(PATIENCE_S)
    assert engine.set_vocabulary(LABELS).result(PATIENCE_S) is None
    assert detector.labels == LABELS


def test_stopping_cancels_all_questions_immediately_and_ends_every_thread(
    flowing, see, enriched, answerer
):
    see(flowing, 1)
    enriched.next()
    flowing.set_vocabulary(["forklift"]).result(PATIENCE_S)
    answerer.gate.close()
    pending = [flowing.ask(QuestionRequest("?")) for _ in range(3)]
    for _ in range(2):
        answerer.started.next()
    assert engine_threads() == {
        "perception",
        "enrichment",
        "questions-0",
        "questions-1",
        "vocabulary_0",
    }
    stopping = threading.Thread(target=flowing.stop)
    stopping.start()
    assert [code_of(question) for question in pending] == [ErrorCode.CANCELLED] * 3
    answerer.gate.allow(2)
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()
    assert engine_threads() == set()


def test_after_stopping_images_and_questions_are_rejected(engine, detector):
    engine.stop()
    engine.offer("front", 1)
    assert detector.started.empty()
    with pytest.raises(QueryError) as error:
        engine.ask(QuestionRequest("?"))
    assert error.value.code is ErrorCode.NOT_ACTIVE
    with pytest.raises(QueryError) as error:
        engine.set_vocabulary(["forklift"])
    assert error.value.code is ErrorCode.NOT_ACTIVE


def test_an_idle_engine_can_be_stopped_twice(engine):
    engine.stop()
    engine.stop()


def test_dropped_objects_are_counted_by_camera_and_the_newest_reason_is_kept(
    make_engine, see, detector, monkeypatch
):
    def detect(images):
        dropped = {"box is inverted": 2, OUTSIDE: 3}
        return [replace(perceive(image), dropped=dropped) for image in images]

    monkeypatch.setattr(detector, "detect", detect)
    engine = make_engine("front", "rear")
    for value in (1, 2):
        see(engine, make_frame(value, "front"))
    cameras = engine.statistics().cameras
    assert (cameras["front"].invalid, cameras["front"].outside) == (4, 6)
    assert "box is inverted: 2" in cameras["front"].invalid_reason
    assert (cameras["rear"].invalid, cameras["rear"].outside) == (0, 0)
    assert "camera front: box is inverted: 2" in engine.statistics().last_error


@pytest.fixture
def detecting(make_engine):
    """Engine without an answerer."""
    return make_engine("front", settings=FLOWING, answerer=None)


def test_without_an_answerer_images_give_scenes_with_tracks(detecting, see, enriched):
    see(detecting, 7)
    assert see(detecting, 7).perception.candidates.track_ids
    assert detecting.statistics().cameras["front"].processed == 2
    assert enriched.empty()
    assert {name for name in engine_threads() if "questions" in name or "enrich" in name} == set()


def test_without_an_answerer_questions_are_rejected_with_the_fix(detecting, see):
    see(detecting, 7)
    with pytest.raises(QueryError, match="answerer to mrmllm or hf_vlm") as error:
        detecting.ask(QuestionRequest("?"))
    assert error.value.code is ErrorCode.UNSUPPORTED
    assert detecting.statistics().questions.rejected == 1


def test_without_an_answerer_the_vocabulary_is_that_of_the_detector(detecting, detector):
    detecting.set_vocabulary(["cup"]).result(PATIENCE_S)
    assert detector.labels == ("cup",)
    detector.refusal = FixedVocabularyError("fixed")
    with pytest.raises(FixedVocabularyError, match=r"cannot change: fixed$"):
        detecting.set_vocabulary(["bus"]).result(PATIENCE_S)


def test_scenes_are_not_enriched_and_questions_wait_until_the_answerer_is_loaded(
    make_engine, answerer, see, enriched
):
    answerer.loaded = False
    loaded = threading.Event()
    answerer.wait_until_loaded = lambda timeout_s: loaded.wait(timeout_s)
    engine = make_engine("front", settings=FLOWING)
    see(engine, 7)
    pending = engine.ask(QuestionRequest("?"))
    assert answerer.encoded.empty()
    answerer.loaded = True
    loaded.set()
    assert pending.result(PATIENCE_S).answer.text == "0 1 2"
    see(engine, 8)
    enriched.next()


def test_a_question_that_waits_for_the_answerer_can_be_cancelled(make_engine, answerer, see):
    answerer.wait_until_loaded = lambda timeout_s: False
    engine = make_engine("front")
    see(engine, 7)
    pending = engine.ask(QuestionRequest("?"))
    engine.cancel(pending)
    assert code_of(pending) is ErrorCode.CANCELLED
