# SPDX-License-Identifier: Apache-2.0

import fakes
import pytest


@pytest.fixture
def clock():
    return fakes.FakeClock()


@pytest.fixture
def detector():
    """In place of the real detector of the other tests."""
    return fakes.FakeDetector()


@pytest.fixture
def answerer():
    return fakes.FakeAnswerer()


@pytest.fixture
def errors():
    """What is told to `on_error`."""
    return fakes.Inbox()


@pytest.fixture
def unusable():
    """What is told to `on_unusable`."""
    return fakes.Inbox()


@pytest.fixture
def scenes():
    """What is told to `on_scene`."""
    return fakes.Inbox()


@pytest.fixture
def enriched():
    """What is told to `on_enriched`."""
    return fakes.Inbox()


@pytest.fixture
def answers():
    """The answers that futures get, in their order."""
    return fakes.Inbox()


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert fakes.engine_threads() == set()
