# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes, and a client in the test process."""

import os
import re
import subprocess
import time
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.ros.nodes.processes import check_running, node_command, ros_arguments, running

# Log line of a node that is active or cannot become active.
SETTLED = re.compile(r"\]: (active$|cannot \w+: )", re.MULTILINE)

# Trained weights change answers, and visual labels detections; tests of them override this.
# Without quotes, `off` is a boolean in YAML.
UNTRAINED = {"mrmllm.checkpoint": '""', "evidence.visual_labels": "never"}


@dataclass
class RunningNode:
    """Process and log of a node."""

    process: subprocess.Popen
    log: Path

    def log_text(self):
        return self.log.read_text(errors="replace")

    def check(self):
        check_running(self.process, self.log)

    def wait_until_settled(self, timeout_s=180.0):
        """Wait until the node is active, has ended or has logged an error."""
        until = time.monotonic() + timeout_s
        while self.process.poll() is None and not SETTLED.search(self.log_text()):
            assert time.monotonic() < until, f"it is not active: {self.log_text()}"
            time.sleep(0.05)


class Client:
    """Node of the test, which keeps received messages."""

    def __init__(self, namespace):
        self.node = rclpy.create_node("client", namespace=namespace)
        self.received = {}

    def subscribe(self, message_type, topic, qos=10):
        messages = self.received.setdefault(topic, [])
        self.node.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def spin_until(self, condition, timeout_s=30.0):
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if condition():
                return True
            rclpy.spin_once(self.node, timeout_sec=0.02)
        return bool(condition())

    def call_async(self, service_type, name, request):
        client = self.node.create_client(service_type, name)
        assert client.wait_for_service(60), f"service {name} has not come"
        return client.call_async(request)

    def call(self, service_type, name, request, timeout_s=90.0):
        future = self.call_async(service_type, name, request)
        assert self.spin_until(future.done, timeout_s), f"no response from {name}"
        return future.result()


@pytest.fixture(scope="module")
def ros():
    rclpy.init()
    yield
    rclpy.shutdown()


@contextmanager
def _node(name, folder, arguments):
    log = folder / f"{name}_{time.monotonic_ns()}.log"
    with running(node_command(name, arguments), log) as process:
        node = RunningNode(process, log)
        if "autostart:=False" not in arguments:
            node.wait_until_settled()
        yield node


@pytest.fixture(scope="module")
def start_node(tmp_path_factory):
    """Context manager that starts a node in a namespace.

    Unless `autostart` is false, it waits until the node is active or has failed.
    """
    folder = tmp_path_factory.mktemp("logs")

    def start(name, namespace, extra=(), **parameters):
        if name == "mrmllm_node":
            parameters = UNTRAINED | parameters
        return _node(name, folder, [*ros_arguments(namespace=namespace, **parameters), *extra])

    return start


@pytest.fixture
def make_client(ros):
    """Function that creates a client in a namespace."""
    clients = []

    def make(namespace):
        clients.append(Client(namespace))
        return clients[-1]

    yield make
    for client in clients:
        client.node.destroy_node()


@pytest.fixture
def loading(monkeypatch):
    """Load fake models; raise `fail` if it is set."""
    import fakes

    from mrmllm_ros.engine.models import Models

    class Loading:
        def __init__(self):
            self.loaded = []
            self.fail = None

        def __call__(self, settings, progress=None, *, in_background=False):
            if self.fail is not None:
                raise self.fail
            models = Models(fakes.FakeDetector(), fakes.FakeAnswerer())
            self.loaded.append(weakref.ref(models.detector))
            return models

        def in_memory(self):
            return sum(model() is not None for model in self.loaded)

    loading = Loading()
    monkeypatch.setattr(Models, "load", loading)
    return loading


@pytest.fixture
def make_node(ros, loading):
    """Function that creates a node with fake models in this process, without an executor."""
    nodes = []

    def make(node_class, **parameters):
        node = node_class()
        nodes.append(node)
        for name, value in parameters.items():
            [result] = node.set_parameters([rclpy.Parameter(name, value=value)])
            assert result.successful, result.reason
        return node

    yield make
    for node in nodes:
        node.stop()
        node.destroy_node()


@pytest.fixture
def picture(tmp_path):
    """Path of a small image."""
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    return str(path)
