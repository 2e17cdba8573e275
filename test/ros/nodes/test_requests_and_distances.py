# SPDX-License-Identifier: Apache-2.0
"""Requests and distances to a node in this process with fake models."""

from threading import Thread

import fakes
import pytest
from action_msgs.msg import GoalStatus
from mrmllm_ros.action import Ask
from mrmllm_ros.msg import Answer, DetectionArray, ObjectDistances
from mrmllm_ros.srv import Query
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mrmllm_ros.ros.conversions.image_messages import image_from_bgr
from mrmllm_ros.ros.nodes import question_server
from mrmllm_ros.ros.nodes.mrmllm_node import MrmllmNode

UNSUPPORTED = {
    "yes_no": {"answer_type": Answer.YES_NO},
    "count": {"answer_type": Answer.COUNT},
    "choice": {"answer_type": Answer.CHOICE, "choices": ["red", "blue"]},
    "json": {"answer_type": Answer.JSON, "json_schema": '{"type": "object"}'},
    "memory": {"about": Answer.MEMORY},
}
INVALID = {
    "answer_type": {"answer_type": 99},
    "about": {"about": 2},
    "choices": {"choices": ["red", "blue"]},
    "json_schema": {"json_schema": "{}"},
    "context": {"context": "a hospital\ncorridor"},
}


class Asker:
    """Client of the service and the action."""

    def __init__(self, client):
        self.client = client
        self.answers = client.subscribe(Answer, "answers")
        self._actions = ActionClient(client.node, Ask, "ask")
        assert self._actions.wait_for_server(60)

    def query(self, **fields):
        return self.client.call(Query, "query", Query.Request(max_age=60.0, **fields))

    def ask(self, **fields):
        goal = self._actions.send_goal_async(Ask.Goal(max_age=60.0, **fields))
        assert self.client.spin_until(goal.done)
        result = goal.result().get_result_async()
        assert self.client.spin_until(result.done)
        return result.result()

    def close(self):
        self._actions.destroy()


@pytest.fixture
def node(make_node):
    """Active node with an executor thread."""
    node = make_node(MrmllmNode)
    node.start()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = Thread(target=executor.spin)
    thread.start()
    yield node
    executor.shutdown()
    thread.join()


@pytest.fixture
def asker(node, make_client):
    """Asker that has sent an image to the node."""
    client = make_client("")
    scenes = client.subscribe(DetectionArray, "detections")
    images = client.node.create_publisher(Image, "image_raw", qos_profile_sensor_data)
    stamp = client.node.get_clock().now().to_msg()
    message = image_from_bgr(fakes.make_frame().image, Header(stamp=stamp))

    def seen():
        images.publish(message)
        return client.spin_until(lambda: scenes, 0.5)

    assert client.spin_until(seen)
    asker = Asker(client)
    assert client.spin_until(lambda: client.node.count_publishers("answers") > 0)
    yield asker
    asker.close()


def test_an_answer_is_one_message_for_its_client_and_its_topic(asker, monkeypatch):
    made = []
    make = question_server.answer_message
    monkeypatch.setattr(
        question_server, "answer_message", lambda a: made.append(make(a)) or made[-1]
    )
    by_service = asker.query(question="Who?").answer
    by_action = asker.ask(question="What?").result.answer
    assert asker.client.spin_until(lambda: len(asker.answers) == 2)
    assert asker.answers == [by_service, by_action]
    assert [a.question for a in made] == ["Who?", "What?"]


def test_an_answer_reaches_its_client_even_if_publishing_it_fails(asker, node, monkeypatch):
    def fail(_):
        raise RuntimeError("no publisher")

    monkeypatch.setattr(node._outputs["camera"].answers, "publish", fail)
    response = asker.query(question="Who?")
    assert response.success, response.error_message
    assert response.answer.question == "Who?"
    assert asker.ask(question="Who?").status == GoalStatus.STATUS_SUCCEEDED


def test_what_is_asked_for_by_default_is_a_text_about_now(asker):
    fields = {"answer_type": Answer.TEXT, "about": Answer.NOW}
    for request in ({}, fields):
        answer = asker.query(question="Who?", **request).answer
        assert answer.text
        assert (answer.answer_type, answer.about) == (Answer.TEXT, Answer.NOW)


def test_the_context_of_a_request_comes_back_with_its_answer(asker):
    fields = {"question": "Who?", "context": "a hospital corridor"}
    assert asker.query(**fields).answer.context == "a hospital corridor"
    assert asker.ask(**fields).result.answer.context == "a hospital corridor"


def test_service_and_action_refuse_the_same_requests_with_the_same_words(asker):
    cases = [(fields, Query.Request.UNSUPPORTED) for fields in UNSUPPORTED.values()]
    cases += [(fields, Query.Request.INVALID_REQUEST) for fields in INVALID.values()]
    for fields, code in cases:
        response = asker.query(question="Who?", **fields)
        goal = asker.ask(question="Who?", **fields)
        assert (response.success, response.error_code) == (False, code), fields
        assert goal.status == GoalStatus.STATUS_ABORTED
        assert goal.result.error_code == code
        assert goal.result.error_message == response.error_message
        assert response.answer == Answer()
    assert asker.answers == []


def test_distances_of_a_localizer_are_taken_and_wrong_ones_left_out(asker, node, monkeypatch):
    taken = fakes.Inbox()
    monkeypatch.setattr(node._engine, "set_distances", lambda *measured: taken.put(measured))
    client = asker.client
    distances = client.node.create_publisher(ObjectDistances, "object_distances", 10)
    assert client.spin_until(lambda: distances.get_subscription_count() > 0)
    header = Header(stamp=client.node.get_clock().now().to_msg())
    distances.publish(ObjectDistances(header=header, track_ids=["7"], distances=[1.0, 2.0]))
    distances.publish(ObjectDistances(header=header, track_ids=["7"], distances=[-1.0]))
    distances.publish(ObjectDistances(header=header, track_ids=["7", "8"], distances=[1.5, 3.0]))
    stamp_ns = header.stamp.sec * 10**9 + header.stamp.nanosec
    assert taken.next() == ("camera", stamp_ns, {"7": 1.5, "8": 3.0})
    assert taken.empty()
