# SPDX-License-Identifier: Apache-2.0
"""What the package's lifecycle nodes have in common."""

from __future__ import annotations

import os
import re
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
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy._rclpy_pybind11 import RCLError, UnknownROSArgsError
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.logging import LoggingSeverity, set_logger_level
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future, Task

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.ros.nodes.node_parameters import (
    declare_settings,
    initial_value,
    needing_restart,
    read_settings,
)
from mrmllm_ros.ros.nodes.parameter_files import explain, warn_of_mistakes
from mrmllm_ros.ros.nodes.requests import QUIET_S, pause
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
    `release`. The last two must work whatever has been done before, and twice. Between them comes
    `drain`, which sub-classes with services of their own override.

    Attributes:
        settings: The current settings.
        autostart: Whether the node configures and activates itself.
        finalized: Done once the node has been shut down for good.
    """

    settings_class: type[S]

    def __init__(self, name: str) -> None:
        """Declare the parameters.

        Raises:
            SettingsError: If a parameter's value is refused.
        """
        try:
            super().__init__(name)
        except ParameterException as error:
            # About a parameter of every ROS 2 node; all of those are bools.
            found = re.search(r"parameter '(?P<name>\w+)'( to '(?P<value>.*?)')?", str(error))
            given = f"{found['value']}, which is not a bool" if found["value"] else "empty"
            raise SettingsError(
                f"parameter {found['name']} is {given}; write true or false"
            ) from error
        self.autostart: bool = self.declare_parameter(
            "autostart",
            initial_value(self, "autostart", True),
            ParameterDescriptor(
                description="Configure and activate without waiting for a lifecycle manager.",
                read_only=True,
            ),
            ignore_override=True,
        ).value
        declare_settings(self, self.settings_class)
        self.settings = read_settings(self, self.settings_class)
        self.finalized = Future()
        self._configured = False
        self._releasing: Task | None = None
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self.add_on_set_parameters_callback(self._on_set_parameters)
        warn_of_mistakes(self, sys.argv)

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

    async def drain(self) -> None:
        """Wait, bounded in time, until every request that was taken has been answered."""

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
        """Let go of everything, once requests have been answered."""
        self._configured = False
        self._begin_release()
        return super().on_cleanup(state)

    @_explained("shut down")
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop; the rest goes with the process, for answers may still be on their way."""
        self.deactivate()
        return super().on_shutdown(state)

    @_explained("recover")
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything after a transition that failed; the node is unconfigured then."""
        self._configured = False
        self.deactivate()
        self._begin_release()
        return super().on_error(state)

    def start(self) -> None:
        """Configure and activate, as a lifecycle manager would, unless one is doing it already."""
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except RCLError as error:
            self.get_logger().warning(f"autostart leaves off, somebody else has begun: {error}")

    async def close(self) -> None:
        """Stop working and answer what is still to be answered, in whatever state."""
        try:
            self.deactivate()
        finally:
            await self.drain()
            # The last response, such as that of the transition, is on its way.
            await pause(self, QUIET_S)

    def stop(self) -> None:
        """Stop working and let go of everything, in whatever state."""
        self.deactivate()
        self.release()

    def _begin_release(self) -> None:
        if self.executor is None:
            # Nothing spins the node, so nobody can be answered.
            self.release()
        else:
            self._releasing = self.executor.create_task(self._release_when_drained)

    async def _release_when_drained(self) -> None:
        await self.drain()
        try:
            self.release()
        except Exception as error:
            # It would end the executor, and the node with it.
            self.get_logger().error(f"cannot clean up: {error!r}")

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        await self._released()
        try:
            response = self._change_state(request, response)
        except RCLError as error:
            # rclpy raises where the transition does not fit the state, and leaves the caller
            # without a response.
            self.get_logger().error(f"refused: {error}")
            response.success = False
        await self._released()
        if self._state_machine.current_state[0] == State.PRIMARY_STATE_FINALIZED:
            self.finalized.set_result(None)
        return response

    async def _released(self) -> None:
        """Wait until a release that has begun is over."""
        if self._releasing is not None:
            await self._releasing
            self._releasing = None

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
    """Run a node until it is shut down, or until SIGINT or SIGTERM, which also end loading.

    The executor has a thread of its own. So the node answers while it loads, and the context
    stays valid until every thread of the node has ended and every request has been answered;
    rclpy's own signal handler would invalidate it under them.

    Returns:
        Exit status: 0, or `REFUSED` if an argument or a parameter was rejected.
    """
    # What rcl logs of arguments that it rejects is in the error, too.
    set_logger_level("rcl", LoggingSeverity.FATAL)
    try:
        rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    except (RCLError, UnknownROSArgsError) as error:
        return _fail(explain(error))
    set_logger_level("rcl", LoggingSeverity.UNSET)
    interrupted = Event()
    _on_signals(lambda *_: interrupted.set())
    try:
        node = node_class()
    except (MrmllmError, RCLError, NameValidationException) as error:
        rclpy.shutdown()
        return _fail(" ".join(str(error).split()))
    node.finalized.add_done_callback(lambda _: interrupted.set())
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    ending = Event()
    with ThreadPoolExecutor(1, "executor") as threads:
        spinning = threads.submit(serve, ending, executor, node)
        spinning.add_done_callback(lambda _: interrupted.set())
        try:
            if node.autostart and not interrupted.is_set():
                with _interruptible(interrupted):
                    node.start()
            interrupted.wait()
        finally:
            # As a task, which ends the wait for callbacks; to wake the executor does not.
            executor.create_task(ending.set)
    executor.shutdown()
    node.stop()
    node.destroy_node()
    rclpy.shutdown()
    # Raises what a callback raised.
    spinning.result()
    return 0


def _fail(reason: str) -> int:
    print(f"{os.path.basename(sys.argv[0])}: error: {reason}", file=sys.stderr)
    return REFUSED


def serve(ending: Event, executor: Executor, node: ManagedNode) -> None:
    """Spin until the event, or until a callback raises; then close the node.

    Args:
        ending: Set by a task of the executor, which ends its wait for callbacks.
        executor: Has the node.
        node: Is closed, but not released.
    """
    try:
        while not ending.is_set():
            executor.spin_once()
    finally:
        closing = executor.create_task(node.close)
        executor.spin_until_future_complete(closing)
        closing.result()


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
