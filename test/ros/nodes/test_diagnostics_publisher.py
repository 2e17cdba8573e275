# SPDX-License-Identifier: Apache-2.0
"""Publisher of /diagnostics."""

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from mrmllm_ros.ros.conversions.diagnostic_messages import Finding, status
from mrmllm_ros.ros.nodes.diagnostics_publisher import DiagnosticsPublisher

NAMESPACE = "/test_diagnostics"
FINE = [Finding(DiagnosticStatus.OK, "fine")]


@pytest.fixture
def reports(ros, make_client):
    """Function that publishes the statuses of `collect` and returns the received messages."""

    def start(collect, **parameters):
        client = make_client(NAMESPACE)
        for name, value in parameters.items():
            client.node.set_parameters([rclpy.Parameter(name, value=value)])
        publisher = DiagnosticsPublisher(client.node, 0.1, collect)
        return client, client.subscribe(DiagnosticArray, "/diagnostics"), publisher

    return start


def test_statuses_come_over_and_over_under_the_name_of_the_node_and_its_namespace(reports):
    client, received, _ = reports(lambda: [status("camera front", FINE, {"age (s)": "0.5"})])
    assert client.spin_until(lambda: len(received) >= 3)
    [front] = received[-1].status
    assert front.name == "test_diagnostics/client: camera front"
    assert (front.level, front.message) == (DiagnosticStatus.OK, "fine")
    assert [(pair.key, pair.value) for pair in front.values] == [("age (s)", "0.5")]
    assert received[-1].header.stamp.sec > 0


def test_reports_come_while_a_simulated_clock_stands_still(reports):
    client, received, _ = reports(lambda: [status("models", FINE, {})], use_sim_time=True)
    assert client.spin_until(lambda: len(received) >= 2)
    assert received[-1].header.stamp.sec == 0


def test_an_exception_is_published_as_an_error_and_reports_continue(reports):
    def collect():
        raise RuntimeError("the device is lost")

    client, received, _ = reports(collect)
    assert client.spin_until(lambda: len(received) >= 2)
    [lost] = received[-1].status
    assert lost.level == DiagnosticStatus.ERROR
    assert "the device is lost" in lost.message


def test_what_is_destroyed_reports_no_more(reports):
    client, received, publisher = reports(lambda: [status("models", FINE, {})])
    assert client.spin_until(lambda: received)
    publisher.destroy()
    client.spin_until(lambda: False, 0.2)
    received.clear()
    assert not client.spin_until(lambda: received, 0.5)
    assert client.node.count_publishers("/diagnostics") == 0
