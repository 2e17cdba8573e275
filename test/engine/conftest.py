# SPDX-License-Identifier: Apache-2.0

import fakes
import pytest

from mrmllm_ros.engine.scheduler import Scheduler


@pytest.fixture
def clock():
    return fakes.FakeClock()


@pytest.fixture
def detector():
    """Replaces the real detector of other tests."""
    return fakes.FakeDetector()


@pytest.fixture
def answerer():
    return fakes.FakeAnswerer()


@pytest.fixture
def scheduler():
    """Scheduler with which workers do not wait for each other."""
    return Scheduler([], enabled=False)


@pytest.fixture
def errors():
    """Arguments of `on_error`."""
    return fakes.Inbox()


@pytest.fixture
def unusable():
    """Arguments of `on_unusable`."""
    return fakes.Inbox()


@pytest.fixture
def scenes():
    """Arguments of `on_scene`."""
    return fakes.Inbox()


@pytest.fixture
def enriched():
    """Arguments of `on_enriched`."""
    return fakes.Inbox()


@pytest.fixture
def answers():
    """Answers of futures, in order."""
    return fakes.Inbox()


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert fakes.engine_threads() == set()
