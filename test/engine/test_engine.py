# SPDX-License-Identifier: Apache-2.0
import threading
from dataclasses import replace

import pytest
from fakes import PATIENCE_S, decode, make_frame

from mrmllm_ros.engine.engine import Engine, Handlers
from mrmllm_ros.engine.errors import ErrorCode, QueryError
from mrmllm_ros.engine.models import Models, Settings
from mrmllm_ros.engine.question_worker import Query
from mrmllm_ros.perception.images import ImageError

SETTINGS = Settings.from_mapping({"question": {"max_new_tokens": 3, "image_timeout_s": 0.0}})


@pytest.fixture
def make_engine(detector, answerer, clock, scenes, answers, errors):
    """Makes a started engine, which ends with the test."""
    engines = []

    def make(*cameras):
        handlers = Handlers(decode, scenes.put, answers.put, errors.put)
        engine = Engine(Models(detector, answerer), SETTINGS, cameras, clock, handlers)
        engine.start()
        engines.append(engine)
        return engine

    yield make
    detector.gate.open()
    answerer.gate.open()
    for engine in engines:
        engine.stop()


@pytest.fixture
def engine(make_engine):
    return make_engine("front")


@pytest.fixture
def see(scenes, errors):
    """Lets an engine perceive an image to the end, so that questions can be about it."""

    def see(engine, image):
        engine.offer(image)
        scene = scenes.next()
        # An image is only taken up when the scene before it is in the memory.
        engine.offer("no image")
        assert isinstance(errors.next(), ImageError)
        return scene

    return see


def label(scene):
    [label] = scene.perception.detections.labels
    return label


def code_of(pending):
    error = pending.future.exception(PATIENCE_S)
    assert isinstance(error, QueryError), error
    return error.code


def ask(engine, **query):
    return engine.ask(Query("?", **query)).future.result(PATIENCE_S)


def test_an_image_gives_a_scene_and_a_question_an_answer_about_it(engine, see, answers, answerer):
    scene = see(engine, 7)
    assert label(scene) == "object 7"
    answer = ask(engine)
    assert answer.scene is scene
    assert answer.answer.text == "0 1 2"
    assert answers.next() is answer
    assert answerer.images[0] is scene.frame.image
    assert answerer.perceptions[0] is scene.perception


def test_an_answer_is_about_the_newest_scene(engine, see):
    see(engine, 7)
    newest = see(engine, 8)
    assert ask(engine).scene is newest


def test_the_text_is_streamed(engine, see):
    see(engine, 7)
    pieces = []
    engine.ask(Query("?"), pieces.append).future.result(PATIENCE_S)
    assert pieces == ["0 ", "1 ", "2 "]


def test_detections_keep_flowing_while_a_question_is_answered(engine, see, answerer):
    see(engine, 1)
    answerer.gate.close()
    pending = engine.ask(Query("?"))
    answerer.started.get(timeout=PATIENCE_S)
    assert [label(see(engine, value)) for value in (2, 3, 4)] == [
        "object 2",
        "object 3",
        "object 4",
    ]
    assert not pending.future.done()
    answerer.gate.open()
    assert label(pending.future.result(PATIENCE_S).scene) == "object 1"


def test_questions_are_answered_while_the_detector_is_busy(engine, see, detector):
    scene = see(engine, 1)
    assert detector.started.get(timeout=PATIENCE_S) == 1
    detector.gate.close()
    engine.offer(2)
    assert detector.started.get(timeout=PATIENCE_S) == 2
    assert ask(engine).scene is scene


def test_an_image_replaced_before_its_turn_is_counted_as_dropped(engine, scenes, detector):
    detector.gate.close()
    engine.offer(1)
    detector.started.get(timeout=PATIENCE_S)
    for value in (2, 3, 4):
        engine.offer(value)
    detector.gate.open()
    assert [label(scenes.next()) for _ in range(2)] == ["object 1", "object 4"]
    assert engine.dropped == 2


def test_failures_are_reported_and_both_sides_go_on(engine, see, detector, answerer, errors):
    detector.fails_on, answerer.fails_on = {6}, {"bad"}
    engine.offer("a shoe")
    assert "a shoe" in str(errors.next())
    engine.offer(6)
    assert "cannot look at 6" in str(errors.next())
    scene = see(engine, 7)
    assert code_of(engine.ask(Query("bad"))) is ErrorCode.INTERNAL
    assert "cannot answer 'bad'" in str(errors.next())
    assert ask(engine).scene is scene


def test_before_the_first_image_there_is_nothing_to_ask_about(engine):
    assert code_of(engine.ask(Query("?"))) is ErrorCode.NO_IMAGE


def test_an_image_without_stamp_ages_from_its_receipt(engine, see, clock):
    scene = see(engine, make_frame(7, stamp_ns=0, received_ns=clock()))
    clock.advance(1)
    assert ask(engine).scene is scene
    clock.advance(10)
    assert code_of(engine.ask(Query("?"))) is ErrorCode.STALE_IMAGE


def test_after_a_jump_back_in_time_only_a_new_image_will_do(engine, see, clock):
    see(engine, make_frame(1, stamp_ns=clock()))
    clock.advance(-500)
    assert code_of(engine.ask(Query("?"))) is ErrorCode.STALE_IMAGE
    scene = see(engine, make_frame(2, stamp_ns=clock()))
    assert ask(engine).scene is scene


def test_each_camera_has_its_own_newest_scene(make_engine, see):
    engine = make_engine("front", "rear")
    front = see(engine, make_frame(1, "front"))
    rear = see(engine, make_frame(2, "rear"))
    assert ask(engine, camera="front").scene is front
    assert ask(engine, camera="rear").scene is rear
    with pytest.raises(QueryError, match="cameras: front, rear"):
        ask(engine)


def test_a_disabled_engine_takes_no_images(engine, scenes, detector):
    detector.gate.close()
    engine.offer(1)
    detector.started.get(timeout=PATIENCE_S)
    engine.enabled = False
    engine.offer(2)
    engine.enabled = True
    engine.offer(3)
    detector.gate.open()
    assert [label(scenes.next()) for _ in range(2)] == ["object 1", "object 3"]
    assert engine.dropped == 0


def test_a_disabled_engine_takes_no_questions(engine, see):
    see(engine, 1)
    engine.enabled = False
    with pytest.raises(QueryError, match="switched off") as error:
        engine.ask(Query("?"))
    assert error.value.code is ErrorCode.NOT_ACTIVE
    engine.enabled = True
    assert label(ask(engine).scene) == "object 1"


def test_changed_settings_reach_both_models_and_the_next_question(engine, see, detector, answerer):
    see(engine, 1)
    settings = replace(SETTINGS, question=replace(SETTINGS.question, max_new_tokens=5))
    engine.configure(settings)
    assert detector.settings is settings.detector
    assert answerer.settings is settings.prompt
    assert ask(engine).answer.tokens == 5


def test_stopping_cancels_all_questions_and_ends_both_threads(engine, see, detector, answerer):
    see(engine, 1)
    answerer.gate.close()
    pending = [engine.ask(Query("?")) for _ in range(3)]
    answerer.started.get(timeout=PATIENCE_S)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    assert [code_of(question) for question in pending[1:]] == [ErrorCode.CANCELLED] * 2
    answerer.gate.allow()
    assert code_of(pending[0]) is ErrorCode.CANCELLED
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()
    assert not {thread.name for thread in threading.enumerate()} & {"perception", "questions"}


def test_after_stopping_neither_images_nor_questions_are_taken(engine, detector):
    engine.stop()
    engine.offer(1)
    assert detector.started.empty()
    with pytest.raises(QueryError) as error:
        engine.ask(Query("?"))
    assert error.value.code is ErrorCode.NOT_ACTIVE


def test_stopping_an_idle_engine_twice_does_no_harm(engine):
    engine.stop()
    engine.stop()
