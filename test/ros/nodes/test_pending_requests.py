# SPDX-License-Identifier: Apache-2.0
"""Goals and questions that are pending when the node ends, with an endless answerer."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import fakes
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from mrmllm_ros.action import Ask
from mrmllm_ros.msg import DetectionArray
from mrmllm_ros.srv import Query
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mrmllm_ros.engine.engine import Engine
from mrmllm_ros.engine.models import Models
from mrmllm_ros.ros.conversions.image_messages import image_from_bgr
from mrmllm_ros.ros.nodes.lifecycle import serve
from mrmllm_ros.ros.nodes.mrmllm_node import MrmllmNode


class Endless(fakes.FakeAnswerer):
    def answer(self, encoded, question, listener):
        while not listener.should_stop():
            Event().wait(0.01)
        return super().answer(encoded, question, listener)


DEACTIVATE = Transition.TRANSITION_DEACTIVATE
CLEANUP = Transition.TRANSITION_CLEANUP
ENDINGS = {
    "deactivate and clean up": [DEACTIVATE, CLEANUP],
    "deactivate and shut down": [DEACTIVATE, Transition.TRANSITION_INACTIVE_SHUTDOWN],
    "shut down": [Transition.TRANSITION_ACTIVE_SHUTDOWN],
    "fail to deactivate": [DEACTIVATE],
    "end of the process": [],
}


class Asker:
    """Sends goals and requests, and keeps the responses."""

    def __init__(self, client):
        self.client = client
        self.accepted, self.results, self.responses = [], [], []
        self._actions = ActionClient(client.node, Ask, "ask")
        assert self._actions.wait_for_server(60)

    def ask(self, goals=3, queries=2):
        for _ in range(goals):
            goal = self._actions.send_goal_async(Ask.Goal(question="Who?", max_age=60.0))
            goal.add_done_callback(self._on_accepted)
        for _ in range(queries):
            request = Query.Request(question="Who?", max_age=60.0)
            self.responses.append(self.client.call_async(Query, "query", request))

    def _on_accepted(self, goal):
        self.accepted.append(goal.result().accepted)
        if goal.result().accepted:
            self.results.append(goal.result().get_result_async())

    def all_accepted(self):
        return len(self.accepted) == 3

    def all_answered(self):
        return self.all_accepted() and all(f.done() for f in self.results + self.responses)


class Running:
    """Node with an executor thread, as in its process."""

    def __init__(self):
        self.node = MrmllmNode()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._ending = Event()
        self._threads = ThreadPoolExecutor(1)
        self._spinning = self._threads.submit(serve, self._ending, self._executor, self.node)
        self.node.start()

    def end(self):
        """End the node as a signal does."""
        self._executor.create_task(self._ending.set)

    def take_down(self):
        self.end()
        self._spinning.result()
        self._threads.shutdown()
        self._executor.shutdown()
        self.node.stop()
        self.node.destroy_node()


@pytest.fixture
def running(ros, monkeypatch):
    monkeypatch.setattr(Models, "load", lambda *_, **__: Models(fakes.FakeDetector(), Endless()))
    running = Running()
    yield running
    running.take_down()


@pytest.fixture
def client(running, make_client):
    """Client that has sent an image to the node."""
    client = make_client("")
    scenes = client.subscribe(DetectionArray, "detections")
    images = client.node.create_publisher(Image, "image_raw", qos_profile_sensor_data)
    assert client.spin_until(lambda: images.get_subscription_count() > 0)
    stamp = client.node.get_clock().now().to_msg()
    message = image_from_bgr(fakes.make_frame().image, Header(stamp=stamp))

    def seen():
        images.publish(message)
        client.spin_until(lambda: scenes, 0.5)
        return scenes

    assert client.spin_until(seen)
    return client


def change_state(client, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return client.call(ChangeState, "mrmllm_node/change_state", request)


@pytest.mark.parametrize(
    ("ending", "begun"),
    [*((ending, True) for ending in ENDINGS), ("deactivate and clean up", False)],
)
def test_every_accepted_goal_gets_a_result_and_every_question_a_response(
    running, client, monkeypatch, ending, begun
):
    fails = ending == "fail to deactivate"
    if fails:
        stop = Engine.stop
        monkeypatch.setattr(Engine, "stop", lambda engine: (stop(engine), 1 / 0))
    asker = Asker(client)
    asker.ask()
    assert not begun or client.spin_until(asker.all_accepted)
    for transition in ENDINGS[ending]:
        assert change_state(client, transition).success != fails
    if "shut down" in ending:
        assert client.spin_until(running.node.finalized.done)
    if "clean up" not in ending and not fails:
        running.end()
    assert client.spin_until(asker.all_answered)
    for result in asker.results:
        assert not result.result().result.success
        assert result.result().result.error_message
    assert all(response.result().error_message for response in asker.responses)


def test_a_result_that_is_asked_for_during_cleanup_comes(client):
    actions = ActionClient(client.node, Ask, "ask")
    assert actions.wait_for_server(60)
    goal = actions.send_goal_async(Ask.Goal(question="Who?", max_age=60.0))
    assert client.spin_until(goal.done)
    assert change_state(client, DEACTIVATE).success
    request = ChangeState.Request(transition=Transition(id=CLEANUP))
    cleanup = client.call_async(ChangeState, "mrmllm_node/change_state", request)
    result = goal.result().get_result_async()
    assert client.spin_until(lambda: result.done() and cleanup.done())
    assert result.result().result.error_code == Query.Request.CANCELLED


def discovered(client, name):
    """A client of a change_state service that the node has discovered: a response has come.

    Until then the middleware may drop a response, and a node that ends cannot send it again.
    """
    change_state = client.node.create_client(ChangeState, name)
    assert change_state.wait_for_service(60)
    unknown = ChangeState.Request(transition=Transition(id=255))
    responses = (change_state.call_async(unknown) for _ in range(6))
    assert any(client.spin_until(response.done, 10) for response in responses)
    return change_state


@pytest.mark.parametrize(
    ("name", "autostart"),
    [
        ("camera_player_node", True),
        ("localizer_node", True),
        ("visualizer_node", True),
        ("visualizer_node", False),
    ],
)
def test_a_node_that_is_shut_down_responds_and_ends_with_status_0(
    start_node, make_client, picture, name, autostart
):
    parameters = {"path": picture} if name == "camera_player_node" else {}
    with start_node(name, "/test_shutdown", autostart=autostart, **parameters) as node:
        label = "active_shutdown" if autostart else "unconfigured_shutdown"
        request = ChangeState.Request(
            transition=Transition(id=getattr(Transition, f"TRANSITION_{label.upper()}"))
        )
        client = make_client("/test_shutdown")
        change_state = discovered(client, f"{name}/change_state")
        response = change_state.call_async(request)
        assert client.spin_until(response.done, 60)
        assert response.result().success
        assert node.process.wait(60) == 0
        assert "Traceback" not in node.log_text()
