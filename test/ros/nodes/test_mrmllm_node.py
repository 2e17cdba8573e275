# SPDX-License-Identifier: Apache-2.0
"""The node with real images, detector and language model."""

import array
import os
import signal
import time

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from mrmllm_ros.action import Ask
from mrmllm_ros.msg import Answer, DetectionArray
from mrmllm_ros.srv import Query, SetVocabulary
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from mrmllm_ros.ros.conversions.image_messages import image_from_bgr

NAMESPACE = "/test_mrmllm_node"


@pytest.fixture(scope="module")
def node(ros, start_node):
    with start_node("mrmllm_node", NAMESPACE) as running_node:
        yield running_node


class Camera:
    """Publishes images and receives the results."""

    def __init__(self, client):
        self.client = client
        self.detections = client.subscribe(DetectionArray, "detections")
        self.enriched = client.subscribe(DetectionArray, "enriched_detections")
        self.answers = client.subscribe(Answer, "answers")
        self._images = client.node.create_publisher(Image, "image_raw", qos_profile_sensor_data)
        assert client.spin_until(lambda: self._images.get_subscription_count() > 0, 60)

    def stamp(self):
        return self.client.node.get_clock().now().to_msg()

    def publish(self, bgr, stamp=None, frame_id="front"):
        header = Header(stamp=stamp or self.stamp(), frame_id=frame_id)
        self._images.publish(image_from_bgr(bgr, header))
        return header

    def publish_message(self, message):
        self._images.publish(message)

    def see(self, bgr, **header):
        """Publish an image, again if it was lost, and wait for its detections."""
        return self._publish_until(self.detections, bgr, header, 2.0)

    def see_enriched(self, bgr):
        """Publish an image and wait for its enriched detections; questions are about it."""
        return self._publish_until(self.enriched, bgr, {}, 10.0)

    def _publish_until(self, received, bgr, header, patience_s):
        for _ in range(10):
            published = self.publish(bgr, **header)
            if self.client.spin_until(
                lambda header=published: received and received[-1].header == header, patience_s
            ):
                return received[-1]
        raise AssertionError("no result of the image")

    def ask(self, question="How many people are there?", **request):
        return self.client.call(Query, "query", Query.Request(question=question, **request))


@pytest.fixture
def camera(node, make_client):
    node.check()
    return Camera(make_client(NAMESPACE))


def test_a_question_before_any_image_gets_a_named_error_on_a_silent_node(node, make_client):
    request = Query.Request(question="What do you see?")
    response = make_client(NAMESPACE).call(Query, "query", request)
    assert not response.success
    assert response.error_code == Query.Request.NO_IMAGE
    assert "camera" in response.error_message


def test_detections_carry_the_images_header_and_find_bus_and_people(camera, bus_image):
    message = camera.see(bus_image, frame_id="front_left_optical")
    assert message.header.frame_id == "front_left_optical"
    assert (message.image_width, message.image_height) == bus_image.shape[1::-1]
    labels = [d.label for d in message.detections]
    assert "bus" in labels
    assert labels.count("person") >= 3
    assert [d.id for d in message.detections] == list(range(1, len(labels) + 1))
    assert message.model == "nanodet-g"
    assert message.latency > 0


def test_the_language_model_answers_about_the_image_and_cites_its_detections(camera, bus_image):
    seen = camera.see_enriched(bus_image)
    response = camera.ask("Is there a bus?")
    assert response.success, response.error_message
    assert response.error_code == Query.Request.NONE
    answer = response.answer
    assert answer.text.strip()
    assert answer.header == seen.header
    assert answer.question == "Is there a bus?"
    assert 0 < answer.confidence <= 1
    assert 0 < answer.time_to_first_token <= answer.latency
    for cited in answer.detections:
        assert cited in seen.detections
        assert f"[{cited.id}]" in answer.text
    assert camera.client.spin_until(lambda: camera.answers)
    assert camera.answers[-1] == answer


def test_without_a_checkpoint_enriched_detections_are_the_detectors_own_but_for_colors(
    camera, node, bus_image
):
    enriched = camera.see_enriched(bus_image)
    assert any(d.attributes for d in enriched.detections)
    assert camera.client.spin_until(
        lambda: any(d.header == enriched.header for d in camera.detections)
    )
    [detected] = [d for d in camera.detections if d.header == enriched.header]
    for own, of_detector in zip(enriched.detections, detected.detections, strict=True):
        assert {a.name for a in own.attributes} <= {"color"}
        own.attributes = []
        assert own == of_detector
    assert all(d.label == d.detector_label and d.novelty == 0 for d in enriched.detections)
    assert "(untrained)" in node.log_text()


@pytest.fixture
def ask(camera, bus_image):
    """Function that sends a goal about the bus and returns its handle and texts."""
    camera.see_enriched(bus_image)
    client = ActionClient(camera.client.node, Ask, "ask")
    assert client.wait_for_server(60)

    def send(question="", max_new_tokens=32):
        texts = []
        goal = Ask.Goal(question=question, max_new_tokens=max_new_tokens, max_age=60.0)
        accepted = client.send_goal_async(goal, lambda m: texts.append(m.feedback.text))
        assert camera.client.spin_until(accepted.done)
        return accepted.result(), texts

    yield send
    client.destroy()


def test_a_goal_streams_its_text_before_the_answer_is_complete(camera, ask):
    goal, texts = ask()
    result = goal.get_result_async()
    assert camera.client.spin_until(lambda: texts)
    assert not result.done()
    assert camera.client.spin_until(result.done)
    assert result.result().status == GoalStatus.STATUS_SUCCEEDED
    answer = result.result().result.answer
    assert len(texts) > 2
    assert "".join(texts).strip() == answer.text
    assert camera.client.spin_until(lambda: camera.answers)
    assert camera.answers[-1] == answer


def test_a_cancelled_goal_ends_at_once_and_makes_place(camera, ask):
    goals = [ask(max_new_tokens=2000)[0] for _ in range(2)]
    started = time.monotonic()
    results = [goal.get_result_async() for goal in goals]
    for goal in goals:
        goal.cancel_goal_async()
    assert camera.client.spin_until(lambda: all(r.done() for r in results), 10)
    # Two answers of 2000 tokens would take minutes; this asserts no speed.
    assert time.monotonic() - started < 10
    for result in results:
        assert result.result().status == GoalStatus.STATUS_CANCELED
        assert result.result().result.error_code == Query.Request.CANCELLED
    assert camera.ask("Is there a bus?", max_new_tokens=4, max_age=60.0).success


def test_a_goal_that_cannot_be_answered_is_aborted_with_the_error(camera, ask):
    goal, _ = ask("bell \a")
    result = goal.get_result_async()
    assert camera.client.spin_until(result.done)
    assert result.result().status == GoalStatus.STATUS_ABORTED
    assert result.result().result.error_code == Query.Request.INVALID_REQUEST


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["forklift"], "evidence.visual_labels to always, or mrmllm.checkpoint"),
        ([], "at least one"),
        ([" "], "one"),
        (["cat\n[2] dog"], "U+000A"),
        (["x" * 1000], "maximum is 100"),
    ],
)
def test_a_vocabulary_that_nothing_can_use_is_rejected_with_what_would(camera, labels, reason):
    request = SetVocabulary.Request(labels=labels)
    response = camera.client.call(SetVocabulary, "set_vocabulary", request)
    assert not response.success
    assert reason in response.message


def test_an_empty_question_gets_a_description(camera, bus_image):
    camera.see(bus_image)
    response = camera.ask("", max_new_tokens=8)
    assert response.success
    assert response.answer.text


def test_an_image_without_stamp_keeps_its_header_and_warns_once(camera, node, bus_image):
    zero = Header().stamp
    for _ in range(2):
        camera.detections.clear()
        assert camera.see(bus_image, stamp=zero).header.stamp == zero
    assert camera.ask(max_new_tokens=4).success
    assert node.log_text().count("stamps are zero") == 1


def test_an_image_that_is_too_old_gets_a_named_error(camera, bus_image):
    camera.see(bus_image)
    time.sleep(0.1)
    response = camera.ask(max_age=0.05)
    assert response.error_code == Query.Request.STALE_IMAGE


@pytest.mark.parametrize(
    ("request_fields", "code"),
    [
        ({"camera": "nowhere"}, Query.Request.UNKNOWN_CAMERA),
        ({"question": "why " * 1000}, Query.Request.INVALID_REQUEST),
        ({"question": "bell \a"}, Query.Request.INVALID_REQUEST),
        ({"max_age": -1.0}, Query.Request.INVALID_REQUEST),
        ({"max_new_tokens": 1_000_000}, Query.Request.INVALID_REQUEST),
    ],
)
def test_a_wrong_request_gets_a_named_error(camera, request_fields, code):
    response = camera.ask(**request_fields)
    assert (response.success, response.error_code) == (False, code)
    assert response.error_message


def garbage_images():
    pixels = array.array("B", bytes(48))
    good = {"height": 4, "width": 4, "encoding": "rgb8", "step": 12, "data": pixels}
    yield Image()
    yield Image(**{**good, "height": 0})
    yield Image(**{**good, "height": 4000})
    yield Image(**{**good, "encoding": "nonsense"})
    yield Image(**{**good, "encoding": ""})
    yield Image(**{**good, "encoding": "32FC1", "step": 16, "data": array.array("B", bytes(64))})
    yield Image(**{**good, "step": 3})
    yield Image(**{**good, "step": 2**32 - 1})
    yield Image(**{**good, "data": array.array("B")})


def test_garbage_images_are_reported_and_the_next_good_one_works(camera, node, bus_image):
    for _ in range(5):
        for message in garbage_images():
            message.header.stamp = camera.stamp()
            camera.publish_message(message)
            camera.client.spin_until(lambda: False, 0.02)
    assert camera.see(bus_image).detections
    assert "unusable image" in node.log_text()
    node.check()


def test_detections_keep_flowing_while_a_question_is_answered(camera, bus_image):
    camera.see(bus_image)
    pending = camera.client.call_async(
        Query, "query", Query.Request(question="", max_new_tokens=24)
    )
    during = 0
    while not pending.done():
        camera.see(bus_image)
        during += not pending.done()
    assert pending.result().success
    assert during >= 3


def test_thirty_questions_at_once_all_end_with_an_answer_or_a_named_error(camera, bus_image):
    # More than the ten that a queue of a service or a client holds by default.
    camera.see(bus_image)
    client = camera.client.node.create_client(Query, "query", qos_profile=QoSProfile(depth=30))
    assert client.wait_for_service(60)
    request = Query.Request(question="Is there a dog?", max_new_tokens=4, max_age=60.0)
    pending = [client.call_async(request) for _ in range(30)]
    assert camera.client.spin_until(lambda: all(p.done() for p in pending), 180)
    responses = [p.result() for p in pending]
    answered = [r for r in responses if r.success]
    refused = [r for r in responses if not r.success]
    assert len(answered) >= 8
    assert {r.error_code for r in refused} <= {Query.Request.BUSY}


def test_switched_off_perception_takes_neither_images_nor_questions(camera, bus_image):
    switched = camera.client.call(SetBool, "enable", SetBool.Request(data=False))
    assert switched.success
    assert camera.ask().error_code == Query.Request.NOT_ACTIVE
    camera.client.spin_until(lambda: False, 0.3)
    camera.detections.clear()
    camera.publish(bus_image)
    assert not camera.client.spin_until(lambda: camera.detections, 1.0)
    assert camera.client.call(SetBool, "enable", SetBool.Request(data=True)).success
    assert camera.see(bus_image).detections


def set_parameter(client, name, value):
    request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
    return client.call(SetParameters, "mrmllm_node/set_parameters", request).results[0]


def double(value):
    return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)


def text(value):
    return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)


def test_a_threshold_changes_at_run_time(camera, bus_image):
    before = len(camera.see(bus_image).detections)
    assert set_parameter(camera.client, "detector.score_threshold", double(0.6)).successful
    assert 0 < len(camera.see(bus_image).detections) < before
    assert set_parameter(camera.client, "detector.score_threshold", double(0.3)).successful
    assert len(camera.see(bus_image).detections) == before


def test_a_value_out_of_range_is_rejected_with_the_reason(camera):
    result = set_parameter(camera.client, "detector.score_threshold", double(7.0))
    assert not result.successful
    assert "0.01" in result.reason


def test_another_model_is_rejected_while_configured_with_what_to_do(camera):
    result = set_parameter(camera.client, "detector.model", text("other.onnx"))
    assert not result.successful
    assert "clean up" in result.reason


def test_a_deactivated_node_says_so_and_works_again_when_activated(camera, bus_image):
    def change(transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert camera.client.call(ChangeState, "mrmllm_node/change_state", request).success

    change(Transition.TRANSITION_DEACTIVATE)
    assert camera.ask().error_code == Query.Request.NOT_ACTIVE
    change(Transition.TRANSITION_ACTIVATE)
    assert camera.client.spin_until(lambda: camera._images.get_subscription_count() > 0)
    assert camera.see(bus_image).detections


def test_a_transition_that_does_not_fit_the_state_is_rejected_and_the_node_goes_on(
    camera, node, bus_image
):
    activate = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    response = camera.client.call(ChangeState, "mrmllm_node/change_state", activate)
    assert not response.success
    assert "transition rejected" in node.log_text()
    assert camera.see(bus_image).detections
    node.check()


def test_the_camera_may_stop_and_come_back(node, make_client, bus_image):
    first = Camera(make_client(NAMESPACE))
    first.see(bus_image)
    first.client.node.destroy_publisher(first._images)
    assert Camera(make_client(NAMESPACE)).see(bus_image).detections


class Eye:
    """One of several cameras; counts the results of its images."""

    def __init__(self, client, name):
        self.client, self.name = client, name
        self.detections = client.subscribe(DetectionArray, f"{name}/detections")
        self.answers = client.subscribe(Answer, f"{name}/answers")
        self._images = client.node.create_publisher(
            Image, f"{name}/image_raw", qos_profile_sensor_data
        )

    def sees_something(self):
        return self._images.get_subscription_count() > 0

    def publish(self, bgr):
        stamp = self.client.node.get_clock().now().to_msg()
        self._images.publish(image_from_bgr(bgr, Header(stamp=stamp, frame_id=self.name)))


def test_two_cameras_share_one_node_and_each_gets_its_own_results(
    ros, start_node, make_client, bus_image, zidane_image
):
    namespace = "/test_two_cameras"
    parameters = {"cameras": "[front, rear]", "enrich_rate_hz": 1.0}
    with start_node("mrmllm_node", namespace, **parameters) as node:
        client = make_client(namespace)
        front, rear = Eye(client, "front"), Eye(client, "rear")
        assert client.spin_until(lambda: front.sees_something() and rear.sees_something())
        pictures = {front: bus_image[::2, ::2], rear: zidane_image[::2, ::2]}

        def enough():
            for eye, picture in pictures.items():
                eye.publish(np.ascontiguousarray(picture))
            client.spin_until(lambda: False, 1 / 15)
            return len(front.detections) + len(rear.detections) >= 60

        assert client.spin_until(enough, 120)
        assert 0.8 <= len(front.detections) / len(rear.detections) <= 1.25
        for eye in (front, rear):
            assert {(m.camera, m.header.frame_id) for m in eye.detections} == {(eye.name,) * 2}
        assert "bus" in {d.label for d in front.detections[-1].detections}
        assert {d.label for d in rear.detections[-1].detections} <= {"person", "tie"}

        def ask(**fields):
            request = Query.Request(question="Who?", max_age=60.0, max_new_tokens=4, **fields)
            return client.call(Query, "query", request)

        unnamed = ask()
        assert unnamed.error_code == Query.Request.CAMERA_REQUIRED
        assert "front, rear" in unnamed.error_message
        response = ask(camera="rear")
        assert response.success, response.error_message
        assert response.answer.camera == response.answer.header.frame_id == "rear"
        assert client.spin_until(lambda: rear.answers)
        assert rear.answers == [response.answer]
        assert not front.answers
        node.check()


def state_of(client):
    response = client.call(GetState, "mrmllm_node/get_state", GetState.Request())
    return response.current_state.label


@pytest.mark.parametrize(
    ("parameter", "failure"),
    [
        ("detector.model", "cannot configure"),
        ("language_model.model", "cannot load the answerer"),
    ],
)
def test_a_missing_model_leaves_the_node_unconfigured_and_names_the_fix(
    ros, start_node, make_client, parameter, failure
):
    namespace = "/test_missing_model"
    missing = "/nonexistent/model.onnx"
    with start_node("mrmllm_node", namespace, **{parameter: missing}) as node:
        client = make_client(namespace)
        assert client.spin_until(lambda: failure in node.log_text(), 90)
        # The reason is logged before the transition has ended.
        assert client.spin_until(lambda: state_of(client) == "unconfigured")
        assert missing in node.log_text()
        assert parameter in node.log_text()


def test_a_parameter_out_of_range_at_the_start_ends_the_node_with_the_reason(ros, start_node):
    with start_node("mrmllm_node", "/test_bad", **{"detector.score_threshold": 9.0}) as node:
        assert node.process.wait(60) == 2
        assert "detector.score_threshold" in node.log_text()
        assert "Traceback" not in node.log_text()


def test_killed_in_mid_answer_it_starts_clean_and_ends_with_status_0(
    ros, start_node, make_client, bus_image
):
    namespace = "/test_killed"
    with start_node("mrmllm_node", namespace) as node:
        camera = Camera(make_client(namespace))
        # Enriched images show that the answerer is loaded.
        camera.see_enriched(bus_image)
        camera.client.call_async(Query, "query", Query.Request(question=""))
        camera.client.spin_until(lambda: False, 0.5)
        os.kill(node.process.pid, signal.SIGKILL)
        node.process.wait(10)
    with start_node("mrmllm_node", namespace) as node:
        camera = Camera(make_client(namespace))
        camera.see_enriched(np.ascontiguousarray(bus_image[:, ::-1]))
        assert camera.ask(max_new_tokens=4, max_age=60.0).success
        pending = camera.client.call_async(
            Query, "query", Query.Request(question="", max_age=60.0, max_new_tokens=2000)
        )
        node.process.terminate()
        assert camera.client.spin_until(pending.done)
        assert pending.result().error_message
        assert node.process.wait(30) == 0


def test_the_embedded_default_answers_right_and_cites(ros, start_node, make_client, bus_image):
    namespace = "/test_embedded"
    default = {"mrmllm.checkpoint": "embedded", "evidence.visual_labels": "auto"}
    with start_node("mrmllm_node", namespace, **default) as node:
        camera = Camera(make_client(namespace))
        seen = camera.see_enriched(bus_image)
        assert "(trained)" in node.log_text()
        assert {"bus", "person"} <= {d.label for d in seen.detections}
        buses = [d for d in seen.detections if d.label == "bus"]
        answer = camera.ask("Is there a bus?", max_age=60.0).answer
        assert answer.text.startswith("Yes")
        assert [d.id for d in answer.detections] == [d.id for d in buses]
        absent = camera.ask("Is there a giraffe?", max_age=60.0).answer
        assert absent.text.startswith("No")
        assert not absent.detections
        node.check()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, compute, detector, language_model):
    """Checkpoint for the embedded models without zero weights."""
    import torch

    from mrmllm_ros.model.backbones import Backbones
    from mrmllm_ros.model.model_settings import VisualEncoderSettings
    from mrmllm_ros.model.modeling_mrmllm import MrMllm
    from mrmllm_ros.model.visual_encoder import VisualEncoder

    encoder = VisualEncoder.load(VisualEncoderSettings(), compute)
    backbones = Backbones(language_model, detector, encoder)
    torch.manual_seed(0)
    model = MrMllm(MrMllm.configure(backbones), backbones)
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    return folder


def test_a_checkpoint_enriches_detections_in_the_vocabulary_that_is_set(
    ros, start_node, make_client, bus_image, checkpoint
):
    namespace = "/test_checkpoint"
    parameters = {"mrmllm.checkpoint": str(checkpoint), "enrich_rate_hz": 1.0}
    with start_node("mrmllm_node", namespace, **parameters) as node:
        camera = Camera(make_client(namespace))
        seen = camera.see_enriched(bus_image)
        assert "(trained)" in node.log_text()
        assert seen.model == "nanodet-g+smollm2-135m-instruct"
        assert seen.detections
        assert all(d.score != d.detector_score for d in seen.detections)
        assert any(d.novelty > 0 for d in seen.detections)
        request = SetVocabulary.Request(labels=["forklift", "person"])
        assert camera.client.call(SetVocabulary, "set_vocabulary", request).success
        for detection in camera.see_enriched(bus_image).detections:
            assert detection.label in {"forklift", "person", detection.detector_label}
        answer = camera.ask("Who is there?", max_new_tokens=4, max_age=60.0)
        assert answer.success, answer.error_message
        node.check()


def test_a_checkpoint_that_is_missing_leaves_the_node_unconfigured_and_names_it(
    ros, start_node, make_client
):
    namespace = "/test_missing_checkpoint"
    with start_node("mrmllm_node", namespace, **{"mrmllm.checkpoint": "/nowhere"}) as node:
        client = make_client(namespace)
        assert client.spin_until(lambda: "cannot load the answerer" in node.log_text(), 90)
        assert "the checkpoint /nowhere" in node.log_text()
        assert client.spin_until(lambda: state_of(client) == "unconfigured")


def test_a_node_without_answerer_detects_and_says_how_to_get_answers(
    ros, start_node, make_client, bus_image
):
    namespace = "/test_detection_only"
    with start_node("mrmllm_node", namespace, answerer="none") as node:
        camera = Camera(make_client(namespace))
        assert {"bus", "person"} <= {d.label for d in camera.see(bus_image).detections}
        response = camera.ask("Is there a bus?", max_age=60.0)
        assert response.error_code == Query.Request.UNSUPPORTED
        assert "answerer to mrmllm" in response.error_message
        publishers = camera.client.node.count_publishers
        assert publishers(f"{namespace}/detections") == 1
        assert publishers(f"{namespace}/enriched_detections") == 0
        node.check()


def test_a_vision_language_model_answers_the_same_queries(
    ros, start_node, make_client, bus_image, vlm_folder
):
    namespace = "/test_vlm"
    parameters = {"answerer": "hf_vlm", "vlm.model": str(vlm_folder)}
    with start_node("mrmllm_node", namespace, **parameters) as node:
        camera = Camera(make_client(namespace))
        seen = camera.see_enriched(bus_image)
        assert seen.model == "nanodet-g+tiny-vlm"
        assert "(training-free)" in node.log_text()
        response = camera.ask("What is there?", max_new_tokens=6, max_age=60.0)
        assert response.success, response.error_message
        assert response.answer.text
        node.check()
