# SPDX-License-Identifier: Apache-2.0
"""Lifecycle of a node in this process, with fake models."""

import signal
import sys
import threading
import time

import fakes
import pytest
from lifecycle_msgs.msg import State
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from mrmllm_ros.engine.engine import Engine
from mrmllm_ros.engine.models import Models
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.ros.conversions.image_messages import image_from_bgr
from mrmllm_ros.ros.nodes.camera_player_node import CameraPlayerNode
from mrmllm_ros.ros.nodes.localizer_node import LocalizerNode
from mrmllm_ros.ros.nodes.mrmllm_node import MrmllmNode
from mrmllm_ros.ros.nodes.processes import running
from mrmllm_ros.ros.nodes.visualizer_node import VisualizerNode

# Topics of an unconfigured node.
OWN = {"parameter_events", "rosout", "transition_event"}


@pytest.fixture
def node(make_node):
    return make_node(MrmllmNode)


def set_parameters(node, **values):
    result = node.set_parameters_atomically([Parameter(n, value=v) for n, v in values.items()])
    assert result.successful, result.reason


def state(node):
    return node._state_machine.current_state[0]


def held(node):
    """Number of resources of a node."""
    return {
        "publishers": len(list(node.publishers)),
        "subscriptions": len(list(node.subscriptions)),
        "services": len(list(node.services)),
        "clients": len(list(node.clients)),
        "timers": len(list(node.timers)),
        "waitables": len(list(node.waitables)),
        "managed": len(node._managed_entities),
        "threads": threading.active_count(),
    }


def cycle(node):
    for trigger in ("configure", "activate", "deactivate", "cleanup"):
        getattr(node, f"trigger_{trigger}")()


def topics(entities):
    return {entity.topic_name.removeprefix("/") for entity in entities} - OWN


@pytest.mark.parametrize("cameras", [["camera"], ["front", "left", "rear"]])
def test_cycles_leave_neither_threads_nor_entities_nor_models_behind(node, loading, cameras):
    set_parameters(node, cameras=cameras)
    before = held(node)
    for _ in range(3):
        node.trigger_configure()
        node.trigger_activate()
        active = held(node)
        node.trigger_deactivate()
        node.trigger_cleanup()
        assert held(node) == before
        assert loading.in_memory() == 0
    assert active["subscriptions"] == before["subscriptions"] + 2 * len(cameras)
    assert active["publishers"] == before["publishers"] + 3 * len(cameras) + 1
    assert active["threads"] > before["threads"]
    assert len(loading.loaded) == 3


def test_cycles_leave_nothing_behind_after_images_were_seen(node, loading):
    before = held(node)
    for _ in range(3):
        node.trigger_configure()
        node.trigger_activate()
        node._on_image("camera", image())
        node.trigger_deactivate()
        node.trigger_cleanup()
    assert held(node) == before
    assert loading.in_memory() == 0


def image():
    return image_from_bgr(fakes.make_frame().image, Header(frame_id="front"))


def test_an_active_node_has_its_models_and_a_deactivated_one_has_let_them_go(node, loading):
    node.trigger_configure()
    assert loading.in_memory() == 1
    node.trigger_activate()
    assert (loading.in_memory(), len(loading.loaded)) == (1, 1)
    node.trigger_deactivate()
    assert state(node) == State.PRIMARY_STATE_INACTIVE
    assert loading.in_memory() == 0
    node.trigger_activate()
    assert state(node) == State.PRIMARY_STATE_ACTIVE
    assert (loading.in_memory(), len(loading.loaded)) == (1, 2)


def test_autostart_leaves_a_node_alone_that_somebody_else_has_configured(node, loading, capfd):
    node.trigger_configure()
    node.start()
    assert state(node) == State.PRIMARY_STATE_INACTIVE
    assert "autostart skipped" in capfd.readouterr().err


@pytest.mark.parametrize("error", [MrmllmError("no such model"), RuntimeError("no such model")])
def test_a_failure_to_configure_is_logged_and_leaves_nothing(node, loading, error, capfd):
    before, loading.fail = held(node), error
    node.start()
    assert state(node) == State.PRIMARY_STATE_UNCONFIGURED
    assert "cannot configure" in (log := capfd.readouterr().err)
    assert "no such model" in log
    assert held(node) == before
    loading.fail = None
    node.start()
    assert state(node) == State.PRIMARY_STATE_ACTIVE


def test_a_failure_to_activate_leads_to_unconfigured_and_leaves_nothing(node, loading, capfd):
    before = held(node)
    node.start()
    node.trigger_deactivate()
    loading.fail = MrmllmError("the device is gone")
    node.trigger_activate()
    assert state(node) == State.PRIMARY_STATE_UNCONFIGURED
    assert "cannot activate: the device is gone" in capfd.readouterr().err
    assert held(node) == before
    assert loading.in_memory() == 0
    # Parameters that are not live may change again.
    set_parameters(node, image_transport="compressed")


def test_a_failure_to_deactivate_leads_to_unconfigured_and_leaves_nothing(
    node, loading, monkeypatch, capfd
):
    before = held(node)
    node.start()
    monkeypatch.setattr(Engine, "statistics", lambda engine: 1 / 0)
    node.trigger_deactivate()
    assert state(node) == State.PRIMARY_STATE_UNCONFIGURED
    assert "cannot deactivate: ZeroDivisionError" in capfd.readouterr().err
    assert held(node) == before
    assert loading.in_memory() == 0


def test_a_parameter_that_needs_a_reload_is_rejected_from_configuring_until_cleanup(
    node, loading, monkeypatch
):
    change = Parameter("cameras", value=["front"])
    results = []

    def refused():
        [result] = node.set_parameters([change])
        results.append(result)
        return not result.successful

    def load(settings, *_, **__):
        assert refused()
        return loading(settings)

    monkeypatch.setattr(Models, "load", load)
    node.trigger_configure()
    assert refused()
    node.trigger_activate()
    assert refused()
    node.trigger_deactivate()
    assert refused()
    assert all("cameras cannot change" in result.reason for result in results)
    assert all("clean up first" in result.reason for result in results)
    assert len(results) == 4
    node.trigger_cleanup()
    assert not refused()


def test_a_parameter_may_be_set_to_what_it_is_at_any_time(node):
    node.start()
    set_parameters(node, cameras=["camera"], image_transport="raw")


def test_one_camera_has_its_topics_as_they_are(make_node):
    node = make_node(MrmllmNode, cameras=["front"])
    node.start()
    assert topics(node.subscriptions) == {"image_raw", "object_distances"}
    assert topics(node.publishers) >= {"detections", "enriched_detections", "answers"}
    assert not any(topic.startswith("front") for topic in topics(node.publishers))


def test_of_several_cameras_each_has_its_topics_in_a_namespace_of_its_name(make_node):
    node = make_node(MrmllmNode, cameras=["front", "rear"], image_transport="compressed")
    node.start()
    assert topics(node.subscriptions) == {
        "front/image_raw/compressed",
        "rear/image_raw/compressed",
        "front/object_distances",
        "rear/object_distances",
    }
    assert {topic for topic in topics(node.publishers) if "/" in topic} >= {
        f"{camera}/{name}"
        for camera in ("front", "rear")
        for name in ("detections", "enriched_detections", "answers")
    }
    services = {service.srv_name for service in node.services}
    assert services >= {"query", "set_vocabulary", "enable"}


@pytest.mark.parametrize(
    "cameras", [[], [""], ["front", "front"], ["front left"], ["2nd"], ["front/left"], ["vö"]]
)
def test_names_that_cannot_be_those_of_cameras_are_rejected_with_the_reason(node, cameras):
    change = Parameter("cameras", Parameter.Type.STRING_ARRAY, cameras)
    [result] = node.set_parameters([change])
    assert not result.successful
    assert "cameras: " in result.reason


@pytest.mark.parametrize("node_class", [VisualizerNode, CameraPlayerNode, LocalizerNode])
def test_a_node_without_models_leaves_nothing_behind_either(make_node, picture, node_class):
    node = make_node(node_class, **({"path": picture} if node_class is CameraPlayerNode else {}))
    cycle(node)
    before = held(node)
    for _ in range(3):
        cycle(node)
    assert state(node) == State.PRIMARY_STATE_UNCONFIGURED
    assert held(node) == before
    node.start()
    assert state(node) == State.PRIMARY_STATE_ACTIVE


LOADS_FOR_EVER = """
import sys, time
from mrmllm_ros.ros.nodes.camera_player_node import CameraPlayerNode
from mrmllm_ros.ros.nodes.lifecycle import spin

class LoadsForEver(CameraPlayerNode):
    def configure(self):
        print("loading", flush=True)
        time.sleep(600)

sys.exit(spin(LoadsForEver))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_loading_of_models(tmp_path, number):
    log = tmp_path / "log"
    with running([sys.executable, "-c", LOADS_FOR_EVER], log) as process:
        until = time.monotonic() + 60
        while "loading" not in log.read_text():
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == 0, log.read_text()
    assert "Traceback" not in log.read_text()
