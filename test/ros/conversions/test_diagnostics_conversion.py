# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

pytest.importorskip(
    "diagnostic_msgs.msg", reason="diagnostic_msgs is not installed: no ROS 2 here"
)

from diagnostic_msgs.msg import DiagnosticStatus

from mrmllm_ros.compute import DeviceUse
from mrmllm_ros.engine.metrics import (
    CameraStatistics,
    EngineStatistics,
    Latency,
    QuestionStatistics,
)
from mrmllm_ros.ros.conversions.diagnostic_messages import (
    DiagnosticsSettings,
    EngineDiagnostics,
    Finding,
    Snapshot,
    loading_status,
    status,
)

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
LOADING = "loading smollm2; until then the node only detects"
NO_IMAGES = CameraStatistics(0, 0, 0, 0, 0, 0, None, None, None)
NO_QUESTIONS = QuestionStatistics(0, 0, 0, 0, 0, None)
GOOD = replace(
    NO_IMAGES,
    received=100,
    processed=100,
    enriched=50,
    latency=Latency(0.025, 0.04),
    enriched_latency=Latency(0.5, 0.75),
    age_s=0.125,
)


def snapshot(time_s, *cameras, questions=NO_QUESTIONS, last_error="", enrichment_s=0.0, **others):
    """The first camera is `front`, the second `rear`."""
    statistics = EngineStatistics(
        dict(zip(("front", "rear"), cameras or (NO_IMAGES,), strict=False)),
        questions,
        last_error,
        enrichment_s,
    )
    defaults = {
        "enabled": True,
        "enrich_rate_hz": 10.0,
        "models": {"detector": "nanodet-g", "answerer": "smollm2 (trained)"},
        "loading": "",
        "device": DeviceUse("cpu"),
        "inputs": {name: f"/{name}/image_raw has no publisher" for name in ("front", "rear")},
        "waits_for_clock": False,
    }
    return Snapshot(statistics, time_s, **(defaults | others))


def report(*conditions, **settings):
    """The last report by name."""
    first, *others = conditions
    diagnostics = EngineDiagnostics(first)
    for each in others:
        statuses = diagnostics.statuses(each, DiagnosticsSettings(**settings))
    return {each.name: each for each in statuses}


def after_a_window(camera, **others):
    """Status of a camera five seconds after its start."""
    return report(snapshot(10.0), snapshot(15.0, camera, **others))["camera front"]


def values(message):
    return {pair.key: pair.value for pair in message.values}


def test_there_is_a_status_for_each_camera_one_for_questions_and_one_for_models():
    start = snapshot(10.0, NO_IMAGES, NO_IMAGES)
    names = list(report(start, snapshot(11.0, NO_IMAGES, NO_IMAGES)))
    assert names == ["camera front", "camera rear", "questions", "models"]


def test_a_good_camera_is_ok_and_says_its_rates():
    front = after_a_window(GOOD)
    assert (front.level, front.message) == (OK, "20 images/s, 20 results/s")
    assert front.hardware_id == "front"


def test_the_values_of_a_camera_have_units():
    assert values(after_a_window(replace(GOOD, received=150, dropped=50))) == {
        "camera rate (Hz)": "30",
        "processed rate (Hz)": "20",
        "fusion rate (Hz)": "10",
        "received": "150",
        "processed": "100",
        "dropped": "50",
        "unusable": "0",
        "failed": "0",
        "invalid objects": "0",
        "objects outside the image": "0",
        "latency, median (s)": "0.025",
        "latency, 95th percentile (s)": "0.04",
        "latency with fusion, median (s)": "0.5",
        "latency with fusion, 95th percentile (s)": "0.75",
        "age of the newest result (s)": "0.125",
    }


def test_a_detector_that_gives_invalid_objects_is_a_warning_with_reason_and_count():
    reason = "box is inverted: 7"
    front = after_a_window(replace(GOOD, invalid=7, invalid_reason=reason))
    assert front.level == WARN
    assert "7 objects of 100 images were invalid in the last 5 s and dropped" in front.message
    assert reason in front.message
    assert values(front)["invalid objects"] == "7"


def test_objects_outside_the_image_are_counted_and_no_fault():
    front = after_a_window(replace(GOOD, outside=7))
    assert front.level == OK
    assert values(front)["objects outside the image"] == "7"


def test_what_is_not_known_yet_is_empty_under_the_same_keys():
    nothing = values(after_a_window(NO_IMAGES))
    assert list(nothing) == list(values(after_a_window(GOOD)))
    assert nothing["age of the newest result (s)"] == ""
    assert nothing["latency, median (s)"] == ""


def test_a_camera_that_has_never_sent_an_image_is_stale_and_the_message_says_what_to_check():
    front = after_a_window(NO_IMAGES)
    assert front.level == STALE
    assert "no image received yet" in front.message
    assert "/front/image_raw has no publisher" in front.message


def test_a_camera_is_stale_once_its_last_image_is_a_window_ago():
    start = snapshot(0.0)
    seconds = [snapshot(float(s), GOOD) for s in range(1, 7)]
    assert report(start, *seconds[:5])["camera front"].level == OK
    front = report(start, *seconds)["camera front"]
    assert front.level == STALE
    assert "in the last 5 s; /front/image_raw has no publisher" in front.message


def test_a_slow_camera_and_a_short_window_are_not_rounded_to_zero():
    one = replace(NO_IMAGES, received=1, processed=1, enriched=1, age_s=0.0001)
    start = snapshot(0.0)
    front = report(start, snapshot(60.0, one), window_s=60.0)["camera front"]
    assert front.message == "0.0167 images/s, 0.0167 results/s"
    assert values(front)["camera rate (Hz)"] == "0.0167"
    assert values(front)["age of the newest result (s)"] == "0.0001"
    dropped = replace(NO_IMAGES, received=5, processed=1, dropped=4)
    front = report(start, snapshot(0.2, dropped), window_s=0.1)["camera front"]
    assert "4 of 5 images were dropped in the last 0.2 s" in front.message


def test_the_window_is_as_long_as_the_settings_say():
    reports = (snapshot(0.0), snapshot(1.0, GOOD), snapshot(4.0, GOOD))
    assert report(*reports, window_s=3.0)["camera front"].level == STALE
    assert report(*reports, window_s=3.5)["camera front"].level == OK


def test_one_bad_camera_leaves_the_other_ok():
    start = snapshot(0.0, NO_IMAGES, NO_IMAGES)
    statuses = report(start, snapshot(5.0, GOOD, NO_IMAGES))
    assert [statuses[f"camera {name}"].level for name in ("front", "rear")] == [OK, STALE]


def test_some_unusable_images_are_a_warning_with_their_number_and_reason():
    camera = replace(GOOD, unusable=3, last_error="step is 3 bytes")
    front = after_a_window(camera, last_error="of another camera")
    assert front.level == WARN
    assert "3 of 100 images were unusable" in front.message
    assert "step is 3 bytes" in front.message
    assert "another" not in front.message


@pytest.mark.parametrize(
    ("outcome", "says"), [("unusable", "encoding"), ("failed", "detection failed")]
)
def test_images_that_all_come_to_nothing_are_an_error(outcome, says):
    camera = replace(NO_IMAGES, received=50, last_error="boom", **{outcome: 50})
    front = after_a_window(camera)
    assert front.level == ERROR
    assert says in front.message
    assert "boom" in front.message


def test_a_detector_that_gives_nothing_is_an_error_only_after_a_window():
    stuck = replace(NO_IMAGES, received=10)
    assert report(snapshot(0.0), snapshot(1.0, stuck))["camera front"].level == OK
    front = report(snapshot(0.0), snapshot(5.0, stuck))["camera front"]
    assert front.level == ERROR
    assert "detector.model" in front.message


@pytest.mark.parametrize(("dropped", "level"), [(0, OK), (50, OK), (51, WARN), (99, WARN)])
def test_more_dropped_images_than_allowed_are_a_warning(dropped, level):
    assert after_a_window(replace(GOOD, dropped=dropped)).level == level


def test_the_share_of_dropped_images_is_a_setting():
    reports = (snapshot(0.0), snapshot(5.0, replace(GOOD, dropped=90)))
    assert report(*reports, max_dropped=0.95)["camera front"].level == OK
    assert report(*reports, max_dropped=0.0)["camera front"].level == WARN


def test_only_what_happened_in_the_window_counts():
    bad = replace(GOOD, dropped=90, unusable=5, failed=5)
    better = replace(bad, received=200, processed=200, enriched=100)
    assert report(snapshot(0.0), snapshot(5.0, bad), snapshot(10.0, better))[
        "camera front"
    ].level == (OK)


def test_results_that_are_not_about_now_are_a_warning_that_names_the_clocks():
    front = after_a_window(replace(GOOD, age_s=86400.0))
    assert front.level == WARN
    assert "differ by 86400 s" in front.message
    assert "use_sim_time" in front.message


def test_a_simulated_clock_without_time_is_named_as_the_cause():
    front = after_a_window(replace(GOOD, age_s=1.7e9), waits_for_clock=True)
    assert front.level == WARN
    assert "no time was received on /clock" in front.message
    assert "synchronize" not in front.message


@pytest.mark.parametrize(
    ("enrich_rate_hz", "level"), [(0.0, OK), (0.15, OK), (1.0, WARN), (10.0, WARN)]
)
def test_a_fusion_pass_that_does_not_come_is_a_warning_where_one_was_due(enrich_rate_hz, level):
    camera = replace(GOOD, enriched=0)
    front = after_a_window(camera, enrich_rate_hz=enrich_rate_hz, last_error="CUDA out of memory")
    assert front.level == level
    assert ("CUDA out of memory" in front.message) == (level == WARN)


def test_several_findings_of_the_worst_level_stand_side_by_side_without_the_others():
    front = after_a_window(replace(GOOD, unusable=3, dropped=80))
    assert "3 of 100" in front.message
    assert "80 of 100" in front.message
    assert "images/s" not in front.message


def test_a_camera_that_is_switched_off_is_ok_and_says_so():
    front = after_a_window(NO_IMAGES, enabled=False)
    assert front.level == OK
    assert "enable" in front.message


@pytest.mark.parametrize(
    ("counts", "level", "says"),
    [
        ({}, OK, "0 answered"),
        ({"answered": 3, "waiting": 2}, OK, "3 answered in the last 5 s, 2 waiting"),
        ({"cancelled": 3}, OK, "0 answered"),
        ({"answered": 3, "failed": 1}, WARN, "1 of 4 questions failed"),
        ({"failed": 2}, ERROR, "2 of 2 questions failed"),
        ({"answered": 3, "rejected": 1}, WARN, "question.max_waiting"),
        ({"rejected": 1}, WARN, "1 questions rejected in the last 5 s;"),
    ],
)
def test_the_level_of_questions(counts, level, says):
    asked = replace(NO_QUESTIONS, **counts)
    message = report(snapshot(0.0), snapshot(5.0, questions=asked))["questions"]
    assert message.level == level
    assert says in message.message


def test_the_values_of_questions():
    asked = QuestionStatistics(1, 2, 3, 4, 5, Latency(0.5, 1.0))
    message = report(snapshot(0.0), snapshot(5.0, questions=asked))["questions"]
    assert values(message) == {
        "waiting": "1",
        "answered": "2",
        "rejected": "3",
        "failed": "4",
        "cancelled": "5",
        "latency, median (s)": "0.5",
        "latency, 95th percentile (s)": "1",
    }


def test_the_share_of_fusion_is_that_of_the_window():
    before, now = snapshot(10.0, enrichment_s=4.0), snapshot(12.0, enrichment_s=4.5)
    message = report(before, now)["models"]
    assert values(message)["fusion share of time"] == "0.25"


def test_a_missing_fusion_pass_is_no_finding_while_a_question_is_answered():
    questions = replace(NO_QUESTIONS, running=1)
    missing = after_a_window(replace(GOOD, enriched=0))
    answering = after_a_window(replace(GOOD, enriched=0), questions=questions)
    assert (missing.level, answering.level) == (WARN, OK)


def test_models_are_named_with_device_memory_and_last_error():
    device = DeviceUse("cuda:0 Card", used_bytes=2 * 2**30, total_bytes=8 * 2**30)
    message = report(snapshot(0.0), snapshot(1.0, device=device, last_error="boom"))["models"]
    assert message.level == OK
    assert message.hardware_id == "cuda:0 Card"
    assert values(message) == {
        "detector": "nanodet-g",
        "answerer": "smollm2 (trained)",
        "fusion share of time": "0",
        "device": "cuda:0 Card",
        "memory used (MiB)": "2048",
        "memory total (MiB)": "8192",
        "last error": "boom",
    }


def test_a_device_without_memory_of_its_own_leaves_it_empty():
    message = report(snapshot(0.0), snapshot(1.0))["models"]
    assert values(message)["memory used (MiB)"] == ""
    assert message.level == OK


def test_memory_that_is_almost_full_is_a_warning():
    device = DeviceUse("cuda:0 Card", used_bytes=8188 * 2**20, total_bytes=8192 * 2**20)
    message = report(snapshot(0.0), snapshot(1.0, device=device))["models"]
    assert message.level == WARN
    assert "8188 of the 8192 MiB of memory of cuda:0 Card are used" in message.message


def test_a_model_that_is_being_loaded_is_a_warning_that_names_it():
    message = report(snapshot(0.0), snapshot(1.0, loading="smollm2"))["models"]
    assert (message.level, message.message) == (WARN, LOADING)
    before = loading_status("nanodet-g")
    assert (before.name, before.level, before.message) == ("models", WARN, "loading nanodet-g")


def test_a_status_needs_something_to_say():
    with pytest.raises(ValueError, match="empty"):
        status("nothing", [], {})
    assert status("plain", [Finding(OK, "drawing")], {"images": "3"}).message == "drawing"
