# SPDX-License-Identifier: Apache-2.0
"""Base class and main function of the lifecycle nodes."""

from __future__ import annotations

import os
import re
import signal
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
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
from mrmllm_ros.ros.nodes.parameter_declaration import (
    declare_settings,
    fixed_parameters,
    initial_value,
    read_settings,
)
from mrmllm_ros.ros.nodes.parameter_files import explain_arguments_error, log_parameter_mistakes
from mrmllm_ros.ros.nodes.requests import QUIET_S, pause
from mrmllm_ros.settings import SettingsError, Validated

S = TypeVar("S", bound=Validated)

# Exit status of a node that rejected its arguments or parameters.
REJECTED = 2
# Minimum seconds between log messages that may occur for every image.
LOG_PERIOD_S = 5.0

Transition = Callable[["ManagedNode", LifecycleState], TransitionCallbackReturn]


def _logs_errors(action: str) -> Callable[[Transition], Transition]:
    """Decorate a transition to log its exceptions, which rclpy swallows, and return ERROR."""

    def decorate(transition: Transition) -> Transition:
        @wraps(transition)
        def logging(node: ManagedNode, state: LifecycleState) -> TransitionCallbackReturn:
            try:
                return transition(node, state)
            except Exception as error:
                reason = str(error) if isinstance(error, MrmllmError) else repr(error)
                node.get_logger().error(f"cannot {action}: {reason}")
                return TransitionCallbackReturn.ERROR

        return logging

    return decorate


class ManagedNode(LifecycleNode, Generic[S]):
    """Lifecycle node with validated parameters that logs why a transition failed.

    After a failed transition the node is unconfigured and holds no resources. Subclasses load in
    `configure`, which adds cleanup callbacks to `release_stack`, and start in `activate`, which
    adds cleanup callbacks to `deactivate_stack`. `deactivate` and `release` run the callbacks and
    may be called repeatedly, in any state. Subclasses with services override `drain`.

    Attributes:
        settings: Current settings.
        autostart: Whether the node configures and activates itself.
        finalized: Future that is done when the node is in the state finalized.
        deactivate_stack: Callbacks that `deactivate` runs, last one first.
        release_stack: Callbacks that `release` runs, last one first.
    """

    settings_class: type[S]

    def __init__(self, name: str) -> None:
        """Declare the parameters.

        Raises:
            SettingsError: If a parameter is invalid.
        """
        try:
            super().__init__(name)
        except ParameterException as error:
            # A parameter of rclpy itself; all of them are bools.
            match = re.search(r"parameter '(?P<name>\w+)'( to '(?P<value>.*?)')?", str(error))
            actual = f"{match['value']}, which is not a bool" if match["value"] else "empty"
            raise SettingsError(
                f"parameter {match['name']} is {actual}; write true or false"
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
        self.deactivate_stack, self.release_stack = ExitStack(), ExitStack()
        self._is_configured = False
        self._releasing: Task | None = None
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self.add_on_set_parameters_callback(self._on_set_parameters)
        log_parameter_mistakes(self, sys.argv)

    @property
    def is_active(self) -> bool:
        """Whether the node is in the state active, after its transition."""
        return self._state_machine.current_state[0] == State.PRIMARY_STATE_ACTIVE

    @abstractmethod
    def configure(self) -> None:
        """Load models and create publishers and services."""

    @abstractmethod
    def activate(self) -> None:
        """Create subscriptions and timers and start processing."""

    def deactivate(self) -> None:
        """Stop processing."""
        self.deactivate_stack.close()

    def release(self) -> None:
        """Release the resources of `configure`."""
        self.release_stack.close()

    async def drain(self) -> None:
        """Wait until all accepted requests are answered, or a timeout has passed."""

    def reconfigure(self) -> None:
        """Apply `settings` after a live parameter has changed."""

    @_logs_errors("configure")
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load."""
        # Set before loading: parameters that are not live are in use from here on.
        self._is_configured = True
        self.configure()
        return super().on_configure(state)

    @_logs_errors("activate")
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start."""
        result = super().on_activate(state)
        self.activate()
        self.get_logger().info("active")
        return result

    @_logs_errors("deactivate")
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop."""
        self.deactivate()
        return super().on_deactivate(state)

    @_logs_errors("clean up")
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release all resources after pending requests have been answered."""
        self._is_configured = False
        self._begin_release()
        return super().on_cleanup(state)

    @_logs_errors("shut down")
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop processing; `close` answers pending requests before the process ends."""
        self.deactivate()
        return super().on_shutdown(state)

    @_logs_errors("recover")
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release all resources after a failed transition; the node becomes unconfigured."""
        self._is_configured = False
        self.deactivate()
        self._begin_release()
        return super().on_error(state)

    def start(self) -> None:
        """Configure and activate, unless a lifecycle manager is doing so."""
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except RCLError as error:
            self.get_logger().warning(
                f"autostart skipped: another client is driving the lifecycle ({error})"
            )

    async def close(self) -> None:
        """Stop processing and answer pending requests, in any state."""
        try:
            self.deactivate()
        finally:
            await self.drain()
            # Lets the middleware send the last response.
            await pause(self, QUIET_S)

    def stop(self) -> None:
        """Stop processing and release all resources, in any state."""
        self.deactivate()
        self.release()

    def _begin_release(self) -> None:
        if self.executor is None:
            # Without an executor no request can be answered.
            self.release()
        else:
            self._releasing = self.executor.create_task(self._release_when_drained)

    async def _release_when_drained(self) -> None:
        await self.drain()
        try:
            self.release()
        except Exception as error:
            # An exception would end the executor and the node.
            self.get_logger().error(f"cannot clean up: {error!r}")

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        await self._released()
        try:
            response = self._change_state(request, response)
        except RCLError as error:
            # rclpy raises, and sends no response, if the state does not allow the transition.
            self.get_logger().error(f"transition rejected: {error}")
            response.success = False
        await self._released()
        if self._state_machine.current_state[0] == State.PRIMARY_STATE_FINALIZED:
            self.finalized.set_result(None)
        return response

    async def _released(self) -> None:
        """Wait until a running release is complete."""
        if self._releasing is not None:
            await self._releasing
            self._releasing = None

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            settings = read_settings(self, self.settings_class, changes)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._is_configured and (names := fixed_parameters(self, self.settings_class, changes)):
            reason = (
                f"{', '.join(names)} cannot change while the node is configured; deactivate and "
                "clean up first (ros2 lifecycle set)"
            )
            return SetParametersResult(successful=False, reason=reason)
        self.settings = settings
        if self._is_configured:
            self.reconfigure()
        return SetParametersResult(successful=True)


def spin(node_class: type[ManagedNode]) -> int:
    """Run a node until it is shut down or receives SIGINT or SIGTERM, which also end loading.

    The executor runs in a thread, so that the node answers while it loads. rclpy's signal handler
    is disabled: it would invalidate the context before all requests are answered.

    Returns:
        Exit status: 0, or `REJECTED` if an argument or a parameter was rejected.
    """
    # rcl's log of rejected arguments repeats the exception.
    set_logger_level("rcl", LoggingSeverity.FATAL)
    try:
        rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    except (RCLError, UnknownROSArgsError) as error:
        return _fail(explain_arguments_error(error))
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
            # A task ends the executor's wait; `wake` does not.
            executor.create_task(ending.set)
    executor.shutdown()
    node.stop()
    node.destroy_node()
    rclpy.shutdown()
    # Raises the exception of a callback.
    spinning.result()
    return 0


def _fail(reason: str) -> int:
    print(f"{os.path.basename(sys.argv[0])}: error: {reason}", file=sys.stderr)
    return REJECTED


def serve(ending: Event, executor: Executor, node: ManagedNode) -> None:
    """Spin until the event is set or a callback raises; then close the node.

    Args:
        ending: Event, set by a task of the executor.
        executor: Executor of the node.
        node: Node to close; its resources are not released.
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
    """Raise `KeyboardInterrupt` in the main thread on a signal."""

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
