# SPDX-License-Identifier: Apache-2.0
import os
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.benchmarks import node_subjects as nodes
from mrmllm_ros.benchmarks.block_comparison import Received
from mrmllm_ros.benchmarks.camera_client import Result
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.ros.nodes.lifecycle import REJECTED
from mrmllm_ros.ros.nodes.processes import ProcessError

IMAGE = np.zeros((4, 6, 3), np.uint8)
VARIANTS = {"node": {}, "node_without_x": {"x": "none"}}


def test_the_packaged_variants_are_valid():
    variants = nodes.read_variants()
    assert variants[nodes.NODE] == {}
    assert {"enrich_rate_hz": 0.0} in variants.values()


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "expected an object"), ('{"node": 1}', "expected an object"), ("{}", "no variant")],
)
def test_other_content_is_an_error_with_the_path(content, message, tmp_path):
    path = tmp_path / "variants.json"
    path.write_text(content)
    with pytest.raises(BenchmarkError, match=rf"variants\.json: .*{message}"):
        nodes.read_variants(path)


class FakeNodes:
    """Starts subjects, and notes which are running."""

    detector = None

    def __init__(self):
        self.running = []
        self.statuses = {}

    @contextmanager
    def subject(self, name):
        self.running.append(name)
        process = SimpleNamespace(returncode=self.statuses.get(name))
        yield SimpleNamespace(name=name, process=process)
        self.running.remove(name)

    def bare(self):
        return self.subject(nodes.BARE_NODE)

    def variant(self, name, parameters):
        return self.subject(name)


@pytest.fixture
def fake(monkeypatch):
    fake = FakeNodes()
    monkeypatch.setattr(nodes, "raw_detector", lambda detector: fake.subject("raw_detector"))
    return fake


def start(fake, stack, progress=lambda line: None):
    def wait(subject):
        if subject.process.returncode is not None:
            raise ProcessError(f"ended\nnode: error: x of {subject.name} is unknown")

    return nodes.start_subjects(stack, fake, VARIANTS, wait, progress)


def test_all_subjects_run_until_the_end_of_the_block(fake):
    names = ["raw_detector", "bare_node", "node", "node_without_x"]
    with ExitStack() as stack:
        assert [subject.name for subject in start(fake, stack)] == names
        assert fake.running == names
    assert fake.running == []


def test_a_variant_that_rejects_its_parameters_is_skipped_with_the_reason(fake):
    fake.statuses = {"node_without_x": REJECTED}
    lines = []
    with ExitStack() as stack:
        names = [subject.name for subject in start(fake, stack, lines.append)]
    assert names == ["raw_detector", "bare_node", "node"]
    assert lines[-1] == "skipped node_without_x: node: error: x of node_without_x is unknown"


@pytest.mark.parametrize(
    "statuses", [{"node": REJECTED}, {"node_without_x": 1}, {"bare_node": REJECTED + 1}]
)
def test_any_other_failure_is_an_error(fake, statuses):
    fake.statuses = statuses
    with ExitStack() as stack, pytest.raises(ProcessError):
        start(fake, stack)


def make_subject(results=(), enriched=0, published=0, status=None, log=None):
    process = SimpleNamespace(pid=1, args=["node"], returncode=status, poll=lambda: status)
    client = SimpleNamespace(results=list(results), enriched=enriched, published=published)
    return nodes.NodeSubject("node", client, process, log)


def test_results_of_a_node_are_taken_once():
    results = [Result(0, 20_000_000, objects=2), Result(100_000_000, 130_000_000, objects=1)]
    subject = make_subject(results, enriched=1, published=3)
    assert subject.take() == Received(3, [0.02, 0.03], objects=3, enriched=1)
    assert subject.take() == Received()


def test_a_node_that_has_ended_is_an_error_with_its_log(tmp_path):
    log = tmp_path / "node.log"
    log.write_text("no memory\n")
    with pytest.raises(ProcessError, match="no memory"):
        make_subject(status=1, log=log).take()


class StartingSubject:
    """Detects the objects of the image that is offered last."""

    name = "slow"

    def __init__(self, offers, log=None):
        self._left = offers
        self.log = log

    def offer(self, image):
        self._left -= 1

    def receive(self, timeout_s):
        pass

    def take(self):
        return Received(latencies_s=[] if self._left else [0.02])


def test_images_are_offered_until_the_first_detections():
    assert nodes.first_detection_s(StartingSubject(3), IMAGE, rate_hz=1000.0) > 0


def test_a_subject_without_detections_is_an_error_with_its_log(monkeypatch, tmp_path):
    monkeypatch.setattr(nodes, "_START_TIMEOUT_S", 0.01)
    with pytest.raises(BenchmarkError, match="slow: no detections"):
        nodes.first_detection_s(StartingSubject(10**9), IMAGE, rate_hz=1000.0)
    log = tmp_path / "node.log"
    log.write_text("cannot configure\n")
    with pytest.raises(BenchmarkError, match="cannot configure"):
        nodes.first_detection_s(StartingSubject(10**9, log), IMAGE, rate_hz=1000.0)
