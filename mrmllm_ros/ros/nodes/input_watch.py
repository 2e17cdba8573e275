# SPDX-License-Identifier: Apache-2.0
"""Warnings that name the input on which nothing comes, and the likely reason."""

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

# Seconds between two looks at the inputs.
_PERIOD_S = 1.0
# Seconds until a silence that lasts is logged again.
_REPEAT_S = 30.0
# Models may take a minute to load, and nobody publishes their results before.
_LOADING_S = 60.0
_START = "mrmllm_node publishes it once it has loaded its models: check its log and namespace"
# Topics listed as alternatives to one that has no publisher.
_MOST_TOPICS = 5

# Name that the middleware gives a node that it does not know, such as one without ROS.
_UNKNOWN = "_NODE_NAME_UNKNOWN_"
_COMPRESSED = "/compressed"
_TWINS = {Image: CompressedImage, CompressedImage: Image}


def input_timeout_setting() -> float:
    """Declare the parameter that bounds an input's silence."""
    return setting(
        5.0,
        "Seconds without a message after which the log names an input's topic and its publishers.",
        minimum=1.0,
        maximum=86400.0,
        live=True,
    )


@dataclass(frozen=True)
class Source:
    """Where messages should come from.

    Attributes:
        topic: The resolved topic.
        message_type: The messages' class.
        qos: QoS of the subscription, overrides included.
    """

    topic: str
    message_type: type
    qos: QoSProfile

    @classmethod
    def of(cls, subscription: Subscription) -> Source:
        """Source of a subscription, which stays valid when that is destroyed."""
        return cls(subscription.topic_name, subscription.msg_type, subscription.qos_profile)


@dataclass
class _Input:
    """A watched subscription; see `InputWatch.add` for its options."""

    source: Source
    name: str
    once: bool
    results: bool
    wanted: Callable[[], bool]
    silent_since_s: float
    has_received: bool = False
    warned_s: float | None = None


class InputWatch:
    """Warns of a node's inputs on which no message comes, and of a simulated clock without time.

    A warning names the resolved topic, its publishers, and where rclpy shows it the cause: another
    message type, incompatible QoS, images on the raw or compressed twin of the topic. It is logged
    when the silence has lasted `timeout_s`, and every 30 s while it lasts.
    """

    def __init__(
        self, node: Node, timeout_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Start watching, in the executor's thread.

        Args:
            node: Has the subscriptions and logs the warnings.
            timeout_s: Longest silence without a warning, in seconds.
            now_s: Monotonic clock, in seconds.
        """
        self.timeout_s = timeout_s
        self._node = node
        self._now_s = now_s
        self._inputs: dict[str, _Input] = {}
        self._clock_silent_since_s = now_s()
        self._clock_warned_s: float | None = None
        # Steady, for a simulated clock may stand still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_PERIOD_S, self.check, clock=steady)

    def add(
        self,
        name: str,
        subscription: Subscription,
        *,
        once: bool = False,
        results: bool = False,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Subscription:
        """Watch a subscription; its callback is wrapped.

        Args:
            name: Name of the messages in the warnings, such as `image of camera 'front'`.
            subscription: The subscription.
            once: Whether one message is enough, as of `camera_info`.
            results: Whether the messages are results of models: they may pause, and their
                publisher comes when the models have been loaded. So only a publisher that is
                missing or does not fit is a reason for a warning, after a minute.
            wanted: Whether anybody needs the messages now.

        Returns:
            The subscription.
        """
        watched = _Input(Source.of(subscription), name, once, results, wanted, self._now_s())
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
        """Say why nothing comes on the input of that name; see `explain_silence`."""
        return explain_silence(self._node, self._inputs[name].source)

    def check(self) -> None:
        """Log a warning for each input whose silence has lasted too long."""
        for watched in self._inputs.values():
            self._check_input(watched)
        self._check_clock()

    def _check_input(self, watched: _Input) -> None:
        now_s = self._now_s()
        if not watched.wanted() or (watched.once and watched.has_received):
            watched.silent_since_s = now_s
            return
        timeout_s = max(self.timeout_s, _LOADING_S) if watched.results else self.timeout_s
        silent_s = now_s - watched.silent_since_s
        if silent_s < timeout_s or not _is_due(watched.warned_s, now_s):
            return
        if watched.results and has_matching_publisher(self._node, watched.source):
            return
        watched.warned_s = now_s
        self._node.get_logger().warning(
            f"no {watched.name} for {rounded(silent_s)} s: "
            f"{explain_silence(self._node, watched.source, _START if watched.results else '')}"
        )

    def _check_clock(self) -> None:
        now_s = self._now_s()
        if not waits_for_clock(self._node):
            self._clock_silent_since_s, self._clock_warned_s = now_s, None
            return
        silent_s = now_s - self._clock_silent_since_s
        if silent_s >= self.timeout_s and _is_due(self._clock_warned_s, now_s):
            self._clock_warned_s = now_s
            count = self._node.count_publishers("/clock")
            self._node.get_logger().warning(
                f"no time on /clock for {rounded(silent_s)} s: use_sim_time is true, and "
                f"/clock has {count or 'no'} publisher{'' if count == 1 else 's'}; play the bag "
                "with --clock, start the simulator, or set use_sim_time to false"
            )


def waits_for_clock(node: Node) -> bool:
    """Whether the node takes its time from `/clock` and no time has come there."""
    clock = node.get_clock()
    return clock.ros_time_is_active and clock.now().nanoseconds == 0


def has_matching_publisher(node: Node, source: Source) -> bool:
    """Whether a publisher of the right type and with compatible QoS is known."""
    endpoints = node.get_publishers_info_by_topic(source.topic)
    return any(_matches(endpoint, source) for endpoint in endpoints)


def explain_silence(node: Node, source: Source, start: str = "") -> str:
    """Say which publishers a topic has, why their messages do not come, and what to do.

    Args:
        node: Knows the graph.
        source: Where nothing comes from.
        start: What to do where there is no publisher; empty suggests other topics.
    """
    topic = source.topic
    endpoints = node.get_publishers_info_by_topic(topic)
    if not endpoints:
        return f"{topic} has no publisher; {start or _alternatives(node, source)}"
    wanted = type_name(source.message_type)
    same_type = [endpoint for endpoint in endpoints if endpoint.topic_type == wanted]
    if not same_type:
        others = ", ".join(sorted({endpoint.topic_type for endpoint in endpoints}))
        hint = _transport_of(source, others) or "remap to a topic of the right type"
        return f"{topic} is published as {others}, and {wanted} is expected; {hint}"
    names = ", ".join(sorted({_full_name(endpoint) for endpoint in same_type}))
    if not any(_matches(endpoint, source) for endpoint in same_type):
        _, reason = qos_check_compatible(same_type[0].qos_profile, source.qos)
        return (
            f"the QoS of the publisher {names} of {topic} is incompatible "
            f"({reason.strip().rstrip(';')}); change it, or override ours (qos_overrides)"
        )
    return f"{topic} is published by {names}; check that it sends (ros2 topic hz {topic})"


def type_name(message_type: type) -> str:
    """Name of a message's type in the graph, such as `sensor_msgs/msg/Image`."""
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


def _transport_of(source: Source, types: str) -> str:
    """Parameters with which images on a topic of the other image type are taken, or nothing."""
    if source.message_type is Image and types == type_name(CompressedImage):
        if source.topic.endswith(_COMPRESSED):
            base = source.topic.removesuffix(_COMPRESSED)
            return f"set image_transport to compressed, and the image topic to {base}"
        return "a compressed topic must end with /compressed; remap it, or republish as raw"
    if source.message_type is CompressedImage and types == type_name(Image):
        return "set image_transport to raw, and the image topic to this one"
    return ""


def _alternatives(node: Node, source: Source) -> str:
    """A topic to take instead of one that has no publisher."""
    topic, graph = source.topic, _published(node)
    compressed, base = f"{topic}{_COMPRESSED}", topic.removesuffix(_COMPRESSED)
    if source.message_type is Image and type_name(CompressedImage) in graph.get(compressed, ()):
        return f"{compressed} has one: set image_transport to compressed"
    if source.message_type is CompressedImage and base != topic:
        if type_name(Image) in graph.get(base, ()):
            return f"{base} has one: set image_transport to raw"
        if type_name(CompressedImage) in graph.get(base, ()):
            return f"{base} has one: leave the last /compressed off the image topic"
    wanted = type_name(source.message_type)
    if others := _topics_with(graph, wanted):
        return f"topics with {wanted}: {others}"
    twin = _TWINS.get(source.message_type)
    if twin is not None and (others := _topics_with(graph, type_name(twin))):
        transport = "compressed" if twin is CompressedImage else "raw"
        return f"topics with {type_name(twin)} (image_transport: {transport}): {others}"
    return f"no topic has {wanted}: start its publisher, and check ROS_DOMAIN_ID"


def _topics_with(graph: Mapping[str, list[str]], wanted: str) -> str:
    return ", ".join(
        sorted(name for name, types in graph.items() if wanted in types)[:_MOST_TOPICS]
    )


def _published(node: Node) -> Mapping[str, list[str]]:
    """Types by topic, of the topics that somebody other than the node publishes."""
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
