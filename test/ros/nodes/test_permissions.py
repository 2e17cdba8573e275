# SPDX-License-Identifier: Apache-2.0
"""Permissions in docs/security.md compared with the topics and services of the nodes."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from mrmllm_ros.ros.nodes.camera_player_node import CameraPlayerNode
from mrmllm_ros.ros.nodes.localizer_node import LocalizerNode
from mrmllm_ros.ros.nodes.mrmllm_node import MrmllmNode
from mrmllm_ros.ros.nodes.visualizer_node import VisualizerNode

SECURITY = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
NODES = {
    "mrmllm_node": MrmllmNode,
    "localizer_node": LocalizerNode,
    "visualizer_node": VisualizerNode,
    "camera_player_node": CameraPlayerNode,
}
# rclpy makes these itself, in C, or only where they are asked for.
UNSEEN = {"/rosout", "/clock", "~/transition_event"}


def documented(row):
    """What a row of the table names: published, subscribed, replied to, executed."""
    [cells] = re.findall(rf"^\| {row} \|(.*)\|$", SECURITY, re.MULTILINE)
    return [
        set(re.findall(r"`([^`]+)`", cell)) - UNSEEN - {"use_sim_time"}
        for cell in cells.split("|")
    ]


def policy():
    """The rules of the profile that is shown for mrmllm_node, by kind and access."""
    text = re.search(r"```xml\n(.*?)```", SECURITY, re.DOTALL)[1]
    profile = ElementTree.fromstring(text).find(".//profile[@node='mrmllm_node']")
    return {
        (rules.tag, *rules.keys()): {rule.text for rule in rules} - UNSEEN for rules in profile
    }


def relative(name, node):
    """A name as it is documented."""
    own = f"/{node}/"
    if name.startswith(own):
        return f"~/{name.removeprefix(own)}"
    return name if name in ("/parameter_events", "/diagnostics") else name.removeprefix("/")


@pytest.mark.parametrize("name", NODES)
def test_a_node_uses_what_is_documented_and_nothing_else(name, make_node, picture):
    parameters = {"path": picture} if name == "camera_player_node" else {}
    node = make_node(NODES[name], **parameters)
    node.start()
    published, subscribed, replied, _ = map(
        set.union, documented(f"`{name}`"), documented("each of them")
    )
    assert {relative(p.topic_name, name) for p in node.publishers} == published
    assert {relative(s.service_name, name) for s in node.services} == replied
    # Images are taken raw here, and depth from images.
    used = {relative(s.topic_name, name) for s in node.subscriptions}
    assert used == subscribed - {"image_raw/compressed", "points", "/tf", "/tf_static"}


def test_the_policy_that_is_shown_gives_mrmllm_node_what_the_table_says():
    published, subscribed, replied, executed = map(
        set.union, documented("`mrmllm_node`"), documented("each of them")
    )
    rules = policy()
    assert rules["topics", "publish"] == published
    assert rules["services", "reply"] == replied
    assert rules["actions", "execute"] == executed == {"ask"}
    # Under the launch file's remapping.
    assert rules["topics", "subscribe"] == {"/camera/image_raw", "object_distances"}
    assert subscribed == {"image_raw", "image_raw/compressed", "object_distances"}
