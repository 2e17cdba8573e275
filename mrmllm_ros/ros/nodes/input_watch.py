# SPDX-License-Identifier: Apache-2.0
"""Warnings about inputs without messages, with the likely reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from mrmllm_ros.errors import rounded
from mrmllm_ros.settings import setting

# Period of the check in seconds.
_PERIOD_S = 1.0
# Period of repeated warnings in seconds.
_REPEAT_S = 30.0
# Time to load models in seconds; results of models are published only afterwards.
_LOADING_S = 60.0
_LOADING_HINT = "mrmllm_node publishes it after loading its models; check its log and namespace"
# Maximum number of topics that a warning lists.
_MAX_TOPICS = 5

# The middleware's name for a publisher outside ROS.
_UNKNOWN = "_NODE_NAME_UNKNOWN_"
_COMPRESSED = "/compressed"
_OTHER_TRANSPORT = {Image: CompressedImage, CompressedImage: Image}


def input_timeout_setting() -> float:
    """Declare the parameter `input_timeout_s`."""
    return setting(
        5.0,
        "Seconds without messages on an input until a warning names its topic and publishers.",
        minimum=1.0,
        maximum=86400.0,
        live=True,
    )


@dataclass(frozen=True)
class Source:
    """Topic, type and QoS of a subscription; remains valid when that is destroyed.

    Attributes:
        topic: Resolved topic.
        message_type: Class of the messages.
        qos: QoS with overrides.
    """

    topic: str
    message_type: type
    qos: QoSProfile

    @classmethod
    def of(cls, subscription: Subscription) -> Source:
        """Return the source of a subscription."""
        return cls(subscription.topic_name, subscription.msg_type, subscription.qos_profile)


@dataclass
class _Input:
    """Watched subscription; see `InputWatch.add` for the options."""

    source: Source
    name: str
    once: bool
    results: bool
    needed: Callable[[], bool]
    silent_since_s: float
    has_received: bool = False
    warned_s: float | None = None


class InputWatch:
    """Warns of inputs that receive no messages, and of a simulated clock without time.

    A warning names the resolved topic, its publishers and the cause if rclpy knows it: another
    message type, incompatible QoS, or images with the other transport. It is logged after
    `timeout_s` without a message, and then every 30 s.
    """

    def __init__(
        self,
        node: Node,
        timeout_s: Callable[[], float],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start watching, in the executor's thread.

        Args:
            node: Node of the subscriptions; logs the warnings.
            timeout_s: Returns the time without messages before a warning, in seconds.
            now_s: Returns the time of a monotonic clock in seconds.
        """
        self._node = node
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._inputs: dict[str, _Input] = {}
        self._clock_silent_since_s = now_s()
        self._clock_warned_s: float | None = None
        # A simulated clock may stop.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_PERIOD_S, self.check, clock=steady)

    def add(
        self,
        name: str,
        subscription: Subscription,
        *,
        once: bool = False,
        results: bool = False,
        needed: Callable[[], bool] = lambda: True,
    ) -> Subscription:
        """Watch a subscription; its callback is wrapped.

        Args:
            name: Name of the input in warnings, for example `image of camera 'front'`.
            subscription: Subscription to watch.
            once: Whether one message suffices, as of `camera_info`.
            results: Whether the messages are results of models, which may pause and start after
                the models are loaded. The warning then concerns a missing or incompatible
                publisher only, after a minute.
            needed: Returns whether the messages are needed now.

        Returns:
            The subscription.
        """
        watched = _Input(Source.of(subscription), name, once, results, needed, self._now_s())
        callback = subscription.callback

        def received(message: Any) -> None:
            watched.has_received = True
            watched.silent_since_s = self._now_s()
            watched.warned_s = None
            callback(message)

        subscription.callback = received
        self._inputs[name] = watched
        return subscription

    def destroy(self) -> None:
        """Stop watching."""
        self._node.destroy_timer(self._timer)

    def explain(self, name: str) -> str:
        """Explain why an input receives no messages; see `explain_silence`."""
        return explain_silence(self._node, self._inputs[name].source)

    def check(self) -> None:
        """Log a warning for each input without messages for too long."""
        for watched in self._inputs.values():
            self._check_input(watched)
        self._check_clock()

    def _check_input(self, watched: _Input) -> None:
        now_s = self._now_s()
        if not watched.needed() or (watched.once and watched.has_received):
            watched.silent_since_s = now_s
            return
        timeout_s = max(self._timeout_s(), _LOADING_S if watched.results else 0.0)
        silent_s = now_s - watched.silent_since_s
        if silent_s < timeout_s or not _is_due(watched.warned_s, now_s):
            return
        if watched.results and has_matching_publisher(self._node, watched.source):
            return
        watched.warned_s = now_s
        hint = _LOADING_HINT if watched.results else ""
        self._node.get_logger().warning(
            f"no {watched.name} for {rounded(silent_s)} s: "
            f"{explain_silence(self._node, watched.source, hint)}"
        )

    def _check_clock(self) -> None:
        now_s = self._now_s()
        if not waits_for_clock(self._node):
            self._clock_silent_since_s, self._clock_warned_s = now_s, None
            return
        silent_s = now_s - self._clock_silent_since_s
        if silent_s >= self._timeout_s() and _is_due(self._clock_warned_s, now_s):
            self._clock_warned_s = now_s
            count = self._node.count_publishers("/clock")
            self._node.get_logger().warning(
                f"no time on /clock for {rounded(silent_s)} s: use_sim_time is true, and "
                f"/clock has {count or 'no'} publisher{'' if count == 1 else 's'}; play the bag "
                "with --clock, start the simulator, or set use_sim_time to false"
            )


def waits_for_clock(node: Node) -> bool:
    """Return whether the node uses `/clock` and has received no time."""
    clock = node.get_clock()
    return clock.ros_time_is_active and clock.now().nanoseconds == 0


def has_matching_publisher(node: Node, source: Source) -> bool:
    """Return whether a publisher of the same type with compatible QoS is known."""
    endpoints = node.get_publishers_info_by_topic(source.topic)
    return any(_matches(endpoint, source) for endpoint in endpoints)


def explain_silence(node: Node, source: Source, hint: str = "") -> str:
    """Name the publishers of a topic, the reason why no message arrives, and the fix.

    Args:
        node: Node with the graph.
        source: Source without messages.
        hint: Fix for a missing publisher; empty for a list of other topics.
    """
    topic = source.topic
    endpoints = node.get_publishers_info_by_topic(topic)
    if not endpoints:
        return f"{topic} has no publisher; {hint or _alternatives(node, source)}"
    expected = type_name(source.message_type)
    same_type = [endpoint for endpoint in endpoints if endpoint.topic_type == expected]
    if not same_type:
        others = ", ".join(sorted({endpoint.topic_type for endpoint in endpoints}))
        fix = _transport_fix(source, others) or "remap to a topic of the right type"
        return f"{topic} is published as {others}, but {expected} is expected; {fix}"
    names = ", ".join(sorted({_full_name(endpoint) for endpoint in same_type}))
    if not any(_matches(endpoint, source) for endpoint in same_type):
        _, reason = qos_check_compatible(same_type[0].qos_profile, source.qos)
        return (
            f"the QoS of the publisher {names} of {topic} is incompatible "
            f"({reason.strip().rstrip(';')}); change it, or the subscription's (qos_overrides)"
        )
    return f"{topic} is published by {names}; check that it sends (ros2 topic hz {topic})"


def type_name(message_type: type) -> str:
    """Return the name of a message type, for example `sensor_msgs/msg/Image`."""
    return f"{message_type.__module__.split('.')[0]}/msg/{message_type.__name__}"


def _is_due(warned_s: float | None, now_s: float) -> bool:
    return warned_s is None or now_s - warned_s >= _REPEAT_S


def _matches(endpoint: TopicEndpointInfo, source: Source) -> bool:
    if endpoint.topic_type != type_name(source.message_type):
        return False
    compatibility, _ = qos_check_compatible(endpoint.qos_profile, source.qos)
    return compatibility != QoSCompatibility.ERROR


def _full_name(endpoint: TopicEndpointInfo) -> str:
    if endpoint.node_name == _UNKNOWN:
        return "an unknown node"
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def _transport_fix(source: Source, types: str) -> str:
    """Fix for a topic whose images have the other transport; empty for other types."""
    if source.message_type is Image and types == type_name(CompressedImage):
        if source.topic.endswith(_COMPRESSED):
            base = source.topic.removesuffix(_COMPRESSED)
            return f"set image_transport to compressed, and the image topic to {base}"
        return "a compressed topic must end with /compressed; remap it, or republish as raw"
    if source.message_type is CompressedImage and types == type_name(Image):
        return "set image_transport to raw, and the image topic to this one"
    return ""


def _alternatives(node: Node, source: Source) -> str:
    """Topics to use instead of one without publisher."""
    topic, graph = source.topic, _published(node)
    compressed, base = f"{topic}{_COMPRESSED}", topic.removesuffix(_COMPRESSED)
    if source.message_type is Image and type_name(CompressedImage) in graph.get(compressed, ()):
        return f"{compressed} has one: set image_transport to compressed"
    if source.message_type is CompressedImage and base != topic:
        if type_name(Image) in graph.get(base, ()):
            return f"{base} has one: set image_transport to raw"
        if type_name(CompressedImage) in graph.get(base, ()):
            return f"{base} has one: remove the last /compressed from the image topic"
    expected = type_name(source.message_type)
    if others := _topics_with(graph, expected):
        return f"topics with {expected}: {others}"
    other = _OTHER_TRANSPORT.get(source.message_type)
    if other is not None and (others := _topics_with(graph, type_name(other))):
        transport = "compressed" if other is CompressedImage else "raw"
        return f"topics with {type_name(other)} (image_transport: {transport}): {others}"
    return f"no topic has {expected}: start its publisher, and check ROS_DOMAIN_ID"


def _topics_with(graph: Mapping[str, list[str]], message_type: str) -> str:
    return ", ".join(
        sorted(name for name, types in graph.items() if message_type in types)[:_MAX_TOPICS]
    )


def _published(node: Node) -> Mapping[str, list[str]]:
    """Types by topic, of all topics that other nodes publish."""
    own = {
        name
        for name, _ in node.get_publisher_names_and_types_by_node(
            node.get_name(), node.get_namespace()
        )
    }
    return {
        name: types
        for name, types in node.get_topic_names_and_types()
        if name not in own and node.count_publishers(name)
    }
