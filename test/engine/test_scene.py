# SPDX-License-Identifier: Apache-2.0
import threading
import time

import pytest
from fakes import (
    NOW_NS,
    PATIENCE_S,
    Inbox,
    explain_silence,
    make_enriched,
    make_frame,
    make_scene,
)

from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.scene import SceneMemory

S = 1_000_000_000


def never():
    return False


@pytest.fixture
def memory(clock):
    return SceneMemory(["front"], clock, explain_silence)


@pytest.fixture
def two_cameras(clock):
    return SceneMemory(["front", "rear"], clock, explain_silence)


def recent_now(memory, camera="front", max_age_s=2.0, should_stop=never):
    """Scene without waiting."""
    return memory.wait_for_recent(camera, max_age_s, time.monotonic(), should_stop)


@pytest.fixture
def waiting(memory):
    """Waits for a scene in a thread; `checked` is set at each check of `should_stop`.

    The check holds the lock and the wait releases it, so everything after `checked` meets a
    waiting thread.
    """

    class Waiting:
        results = Inbox()
        checked = threading.Event()
        stopped = threading.Event()

        def should_stop(self):
            self.checked.set()
            return self.stopped.is_set()

        def run(self):
            try:
                until_s = time.monotonic() + PATIENCE_S
                self.results.put(memory.wait_for_recent("front", 2.0, until_s, self.should_stop))
            except QueryError as error:
                self.results.put(error)

        def see(self):
            assert self.checked.wait(PATIENCE_S)
            self.checked.clear()

    waiting = Waiting()
    thread = threading.Thread(target=waiting.run)
    thread.start()
    yield waiting
    waiting.stopped.set()
    memory.wake()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_frame_was_captured_at_its_stamp():
    assert make_frame(stamp_ns=5 * S, received_ns=9 * S).captured_ns == 5 * S


def test_a_frame_without_stamp_was_captured_when_it_came():
    assert make_frame(stamp_ns=0, received_ns=9 * S).captured_ns == 9 * S


def test_the_newest_scene_of_the_camera_is_returned(two_cameras):
    old, new, other = make_scene(1), make_scene(2), make_scene(3, camera="rear")
    for scene in (old, new, other):
        two_cameras.put(scene)
    assert recent_now(two_cameras, "front") is new
    assert recent_now(two_cameras, "rear") is other


@pytest.mark.parametrize("age_s", [0.0, 1.0, 2.0])
def test_a_scene_may_be_as_old_as_allowed(age_s, memory, clock):
    memory.put(scene := make_scene())
    clock.advance(age_s)
    assert recent_now(memory, max_age_s=2.0) is scene


def test_an_older_scene_is_stale(memory, clock):
    memory.put(make_scene())
    clock.advance(5)
    with pytest.raises(QueryError) as error:
        recent_now(memory, max_age_s=2.0)
    assert error.value.code is ErrorCode.STALE_IMAGE
    assert "'front' is 5 s old, the maximum is 2 s" in error.value.message


def test_ages_and_limits_are_rounded_to_distinct_values(memory, clock):
    memory.put(make_scene())
    clock.advance(0.0052)
    with pytest.raises(QueryError, match=r"is 0\.0052 s old, the maximum is 0\.001 s"):
        recent_now(memory, max_age_s=0.001)
    clock.advance(0.9952)
    with pytest.raises(QueryError, match=r"is 1\.0004 s old, the maximum is 1 s"):
        recent_now(memory, max_age_s=1.0)
    clock.advance(31_536_000)
    with pytest.raises(QueryError, match=r"is 31536001 s old"):
        recent_now(memory, max_age_s=1.0)


def test_a_new_image_with_an_old_stamp_points_to_the_clocks(memory, clock):
    memory.put(make_scene(stamp_ns=NOW_NS - 86_400 * S, received_ns=NOW_NS))
    clock.advance(0.5)
    with pytest.raises(QueryError, match=r"is 86400\.5 s before the .* use_sim_time") as error:
        recent_now(memory, max_age_s=2.0)
    assert error.value.code is ErrorCode.STALE_IMAGE


def test_an_image_from_the_future_is_not_called_old(memory, clock):
    memory.put(make_scene(stamp_ns=NOW_NS + 100 * S, received_ns=NOW_NS))
    with pytest.raises(QueryError, match=r"is 100 s after .* synchronize the clocks"):
        recent_now(memory, max_age_s=2.0)


def test_a_simulated_clock_without_time_is_named_as_the_reason():
    memory = SceneMemory(["front"], lambda: 0, explain_silence)
    memory.put(make_scene(stamp_ns=NOW_NS, received_ns=0))
    with pytest.raises(QueryError, match="nothing is published on /clock; play the bag"):
        recent_now(memory, max_age_s=2.0)


def test_errors_say_where_the_images_should_come_from(clock):
    memory = SceneMemory(["front"], clock, lambda camera: f"/{camera}/image has no publisher")
    with pytest.raises(QueryError, match=r"camera 'front'; /front/image has no publisher$"):
        recent_now(memory)
    memory.put(make_scene())
    clock.advance(5)
    with pytest.raises(
        QueryError, match=r"larger max_age, or check the camera: /front/image has no publisher$"
    ):
        recent_now(memory)


def test_a_scene_without_stamp_ages_from_its_receipt(memory, clock):
    memory.put(scene := make_scene(stamp_ns=0, received_ns=NOW_NS))
    clock.advance(1)
    assert recent_now(memory, max_age_s=2.0) is scene
    clock.advance(2)
    with pytest.raises(QueryError, match=r"is 3 s old"):
        recent_now(memory, max_age_s=2.0)


def test_without_any_image_the_error_says_so(two_cameras):
    two_cameras.put(make_scene(camera="rear"))
    with pytest.raises(QueryError, match="no image has arrived from camera 'front'") as error:
        recent_now(two_cameras, "front")
    assert error.value.code is ErrorCode.NO_IMAGE


def test_where_no_image_could_be_used_the_error_says_why(memory):
    memory.put_failure("front", "unknown encoding")
    with pytest.raises(QueryError, match=r"are unusable, .* unknown encoding$") as error:
        recent_now(memory)
    assert error.value.code is ErrorCode.NO_IMAGE
    memory.put(scene := make_scene())
    assert recent_now(memory) is scene


def test_where_later_images_could_not_be_used_the_error_says_why(memory, clock):
    memory.put(make_scene())
    memory.put_failure("front", "unknown encoding")
    clock.advance(5)
    with pytest.raises(QueryError, match=r"5 s old; later images .* unknown encoding$") as error:
        recent_now(memory, max_age_s=2.0)
    assert error.value.code is ErrorCode.STALE_IMAGE


def test_after_the_clock_has_jumped_back_the_scene_from_the_future_is_stale(memory, clock):
    memory.put(make_scene())
    clock.advance(-100)
    with pytest.raises(QueryError) as error:
        recent_now(memory, max_age_s=2.0)
    assert error.value.code is ErrorCode.STALE_IMAGE
    memory.put(scene := make_scene(stamp_ns=clock()))
    assert recent_now(memory, max_age_s=2.0) is scene


def test_the_clock_of_camera_and_node_may_differ_a_little(memory, clock):
    memory.put(scene := make_scene())
    clock.advance(-0.01)
    assert recent_now(memory, max_age_s=2.0) is scene


def test_an_enriched_scene_is_preferred_to_a_newer_scene(memory):
    memory.put_enriched(enriched := make_enriched(1))
    memory.put(make_scene(2))
    assert recent_now(memory) is enriched


def test_an_enriched_scene_that_is_too_old_gives_way_to_a_newer_one_that_is_not_enriched(
    memory, clock
):
    memory.put_enriched(enriched := make_enriched(1))
    clock.advance(3)
    memory.put(scene := make_scene(2, stamp_ns=clock()))
    assert recent_now(memory, max_age_s=2.0) is scene
    assert recent_now(memory, max_age_s=3.0) is enriched


def test_an_enriched_scene_from_the_future_gives_way_to_a_present_one(memory, clock):
    memory.put_enriched(make_enriched(1))
    clock.advance(-100)
    memory.put(scene := make_scene(2, stamp_ns=clock()))
    assert recent_now(memory) is scene


def test_each_camera_has_its_own_enriched_scene_however_old(two_cameras, clock):
    two_cameras.put_enriched(front := make_enriched(1))
    assert two_cameras.enriched("rear") is None
    two_cameras.put_enriched(rear := make_enriched(2, camera="rear"))
    clock.advance(1000)
    assert two_cameras.enriched("front") is front
    assert two_cameras.enriched("rear") is rear
    two_cameras.put_enriched(newer := make_enriched(3))
    assert two_cameras.enriched("front") is newer


def test_waiting_ends_when_an_enriched_scene_comes(memory, waiting):
    waiting.see()
    memory.put_enriched(enriched := make_enriched())
    assert waiting.results.next() is enriched


def test_waiting_for_a_first_image_ends_when_it_comes(memory, waiting):
    waiting.see()
    memory.put(scene := make_scene())
    assert waiting.results.next() is scene


def test_waiting_for_a_recent_image_ignores_old_ones(memory, clock, waiting):
    waiting.see()
    clock.advance(60)
    memory.put(make_scene(1))
    waiting.see()
    assert waiting.results.empty()
    memory.put(scene := make_scene(2, stamp_ns=clock()))
    assert waiting.results.next() is scene


def test_waiting_ends_when_should_stop_is_true(memory, waiting):
    waiting.see()
    waiting.stopped.set()
    memory.wake()
    assert waiting.results.next() is None


def test_a_spurious_wake_does_not_end_the_wait(memory, waiting):
    waiting.see()
    memory.wake()
    waiting.see()
    assert waiting.results.empty()
    memory.put(scene := make_scene())
    assert waiting.results.next() is scene


def test_waiting_ends_when_the_time_is_over(memory):
    with pytest.raises(QueryError) as error:
        memory.wait_for_recent("front", 2.0, time.monotonic() + 0.02, never)
    assert error.value.code is ErrorCode.NO_IMAGE


def test_a_stopped_wait_returns_no_scene_even_if_there_is_one(memory):
    memory.put(make_scene())
    assert recent_now(memory, should_stop=lambda: True) is None


def test_the_only_camera_need_not_be_named(memory):
    assert memory.resolve_camera("") == "front"
    assert memory.resolve_camera("front") == "front"


def test_an_unknown_camera_is_answered_with_the_known_ones(two_cameras):
    with pytest.raises(QueryError, match="unknown camera 'top'; cameras: front, rear") as error:
        two_cameras.resolve_camera("top")
    assert error.value.code is ErrorCode.UNKNOWN_CAMERA


def test_an_unknown_cameras_name_is_cut_short_and_its_control_characters_are_spelt_out(memory):
    with pytest.raises(QueryError) as error:
        memory.resolve_camera("\x1b[31m" + "x" * 1000)
    assert len(error.value.message) < 100
    assert "\x1b" not in error.value.message


def test_each_cameras_newest_scene_is_known_however_old(two_cameras, clock):
    assert two_cameras.scene("front") is None
    two_cameras.put(front := make_scene(1))
    clock.advance(1000)
    assert two_cameras.scene("front") is front
    assert two_cameras.scene("rear") is None


def test_of_several_cameras_one_must_be_named_and_all_are_listed(two_cameras):
    assert two_cameras.resolve_camera("rear") == "rear"
    with pytest.raises(QueryError, match="cameras: front, rear") as error:
        two_cameras.resolve_camera("")
    assert error.value.code is ErrorCode.CAMERA_REQUIRED
