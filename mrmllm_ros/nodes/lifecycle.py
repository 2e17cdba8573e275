# SPDX-License-Identifier: Apache-2.0
"""What the package's lifecycle nodes have in common."""

from __future__ import annotations

import os
import signal
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from threading import Event
from typing import Generic, TypeVar

import rclpy
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.nodes.parameters import declare_settings, needing_restart, read_settings
from mrmllm_ros.settings import SettingsError, Validated

S = TypeVar("S", bound=Validated)

# Exit status of a node that has refused its parameters, with which it cannot start ever.
REFUSED = 2

Transition = Callable[["ManagedNode", LifecycleState], TransitionCallbackReturn]


def _explained(what: str) -> Callable[[Transition], Transition]:
    """Have a transition log what it raises, which rclpy swallows, and end in an error."""

    def decorate(transition: Transition) -> Transition:
        @wraps(transition)
        def explained(node: ManagedNode, state: LifecycleState) -> TransitionCallbackReturn:
            try:
                return transition(node, state)
            except Exception as error:
                reason = str(error) if isinstance(error, MrmllmError) else repr(error)
                node.get_logger().error(f"cannot {what}: {reason}")
                return TransitionCallbackReturn.ERROR

        return explained

    return decorate


class ManagedNode(LifecycleNode, Generic[S]):
    """A lifecycle node with checked parameters that says why a transition failed.

    After a failure, whichever it was, the node has let go of everything and is unconfigured.
    Sub-classes load in `configure`, start in `activate`, stop in `deactivate` and let go in
    `release`. The last two must work whatever has been done before, and twice.

    Attributes:
        settings: The current settings.
        autostart: Whether the node configures and activates itself.
    """

    settings_class: type[S]

    def __init__(self, name: str) -> None:
        """Declare the parameters.

        Raises:
            SettingsError: If a parameter's value is refused.
        """
        super().__init__(name)
        self.autostart: bool = self.declare_parameter(
            "autostart",
            True,
            ParameterDescriptor(
                description="Configure and activate without waiting for a lifecycle manager.",
                read_only=True,
            ),
        ).value
        declare_settings(self, self.settings_class)
        self.settings = read_settings(self, self.settings_class)
        self._configured = False
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self.add_on_set_parameters_callback(self._on_set_parameters)

    @abstractmethod
    def configure(self) -> None:
        """Load what is needed and create publishers, subscriptions and services."""

    @abstractmethod
    def activate(self) -> None:
        """Start working."""

    @abstractmethod
    def deactivate(self) -> None:
        """Stop working."""

    @abstractmethod
    def release(self) -> None:
        """Let go of all that `configure` made."""

    def reconfigure(self) -> None:
        """Take over `settings` after a live parameter has changed."""

    @_explained("configure")
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load."""
        # From now on, for what is being loaded has been chosen.
        self._configured = True
        self.configure()
        return super().on_configure(state)

    @_explained("activate")
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start."""
        result = super().on_activate(state)
        self.activate()
        self.get_logger().info("active")
        return result

    @_explained("deactivate")
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop."""
        self.deactivate()
        return super().on_deactivate(state)

    @_explained("clean up")
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything."""
        self.release()
        self._configured = False
        return super().on_cleanup(state)

    @_explained("shut down")
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop; the rest goes with the process, for answers may still be on their way."""
        self.deactivate()
        return super().on_shutdown(state)

    @_explained("recover")
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything after a transition that failed; the node is unconfigured then."""
        self.stop()
        self._configured = False
        return super().on_error(state)

    def start(self) -> None:
        """Configure and activate, as a lifecycle manager would, unless one is doing it already."""
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except RCLError as error:
            self.get_logger().warning(f"autostart leaves off, somebody else has begun: {error}")

    def stop(self) -> None:
        """Stop working and let go of everything, in whatever state."""
        self.deactivate()
        self.release()

    def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        try:
            return self._change_state(request, response)
        except RCLError as error:
            # rclpy raises where the transition does not fit the state, and leaves the caller
            # without a response.
            self.get_logger().error(f"refused: {error}")
            response.success = False
            return response

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            settings = read_settings(self, self.settings_class, changes)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._configured and (names := needing_restart(self, self.settings_class, changes)):
            reason = (
                f"{', '.join(names)} cannot change while the node is configured; deactivate and "
                "clean up first (ros2 lifecycle set)"
            )
            return SetParametersResult(successful=False, reason=reason)
        self.settings = settings
        if self._configured:
            self.reconfigure()
        return SetParametersResult(successful=True)


def spin(node_class: type[ManagedNode]) -> int:
    """Run a node until SIGINT or SIGTERM, which also end the loading of models.

    The executor has a thread of its own. So the node answers while it loads, and the context
    stays valid until every thread of the node has ended; rclpy's own signal handler would
    invalidate it under them.

    Returns:
        Exit status: 0, or `REFUSED` if a parameter was refused.
    """
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    interrupted = Event()
    _on_signals(lambda *_: interrupted.set())
    try:
        node = node_class()
    except MrmllmError as error:
        print(f"{os.path.basename(sys.argv[0])}: error: {error}", file=sys.stderr)
        rclpy.shutdown()
        return REFUSED
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    with ThreadPoolExecutor(1, "executor") as threads:
        spinning = threads.submit(executor.spin)
        spinning.add_done_callback(lambda _: interrupted.set())
        try:
            if node.autostart and not interrupted.is_set():
                with _interruptible(interrupted):
                    node.start()
            interrupted.wait()
        finally:
            # Else its thread would be waited for without end.
            executor.shutdown()
    node.stop()
    node.destroy_node()
    rclpy.shutdown()
    # Raises what a callback raised.
    spinning.result()
    return 0


@contextmanager
def _interruptible(interrupted: Event) -> Iterator[None]:
    """Have a signal end what the main thread is doing, and not only be remembered."""

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    _on_signals(interrupt)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        _on_signals(lambda *_: interrupted.set())


def _on_signals(handler: Callable[..., None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
