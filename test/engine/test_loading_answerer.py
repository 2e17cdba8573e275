# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
from fakes import PATIENCE_S, FakeAnswerer, Inbox, make_scene

from mrmllm_ros.answering.answerer import EncodedImage
from mrmllm_ros.engine.loading_answerer import LoadingAnswerer
from mrmllm_ros.errors import MrmllmError


class Load:
    """Loads a fake answerer when `end` is called."""

    def __init__(self):
        self.answerer = FakeAnswerer()
        self.error = None
        self._ended = threading.Event()

    def __call__(self):
        assert self._ended.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        return self.answerer

    def end(self, error=None):
        self.error = error
        self._ended.set()


@pytest.fixture
def load():
    return Load()


@pytest.fixture
def loading(load):
    """Answerer that is being loaded; loading ends with the test."""
    loading = LoadingAnswerer("large model", load)
    yield loading
    load.end()
    loading.join()


def test_while_it_loads_it_has_its_name_and_no_labels(loading):
    assert not loading.loaded
    assert not loading.wait_until_loaded(0.0)
    assert (loading.name, loading.state, loading.labels) == ("large model", "loading", ())


def test_once_loaded_it_is_the_answerer(loading, load):
    load.answerer.labels = ("cup",)
    load.end()
    assert loading.wait_until_loaded(PATIENCE_S)
    assert loading.loaded
    assert (loading.name, loading.state, loading.labels) == ("fake answerer", "fake", ("cup",))
    scene = make_scene()
    [encoded] = loading.encode([scene.frame.image], [scene.perception])
    assert isinstance(encoded, EncodedImage)
    loading.set_vocabulary(("box",))
    assert load.answerer.labels == ("box",)


def test_the_newest_settings_are_applied_before_and_after_loading(loading, load):
    loading.configure("first")
    loading.configure("second")
    loading.set_context("a kitchen")
    load.end()
    loading.join()
    assert (load.answerer.settings, load.answerer.context) == ("second", "a kitchen")
    loading.configure("third")
    loading.set_context("")
    assert (load.answerer.settings, load.answerer.context) == ("third", "")


def test_work_waits_for_the_model(loading, load):
    done = Inbox()
    thread = threading.Thread(
        target=lambda: done.put(loading.set_vocabulary(("cup",))), daemon=True
    )
    thread.start()
    assert done.empty()
    load.end()
    done.next()
    assert load.answerer.labels == ("cup",)
    thread.join()


@pytest.mark.parametrize("error", [MrmllmError("no such model"), TimeoutError("too slow")])
def test_the_error_of_loading_is_raised_by_everything_that_needs_the_model(loading, load, error):
    errors = Inbox()
    loading.add_done_callback(errors.put)
    load.end(error)
    assert errors.next() is error
    assert (loading.loaded, loading.state, loading.labels) == (False, "failed", ())
    loading.configure("settings")
    for use in (
        lambda: loading.wait_until_loaded(0.0),
        lambda: loading.encode([], []),
        lambda: loading.answer(None, None, None),
        lambda: loading.set_vocabulary(("cup",)),
    ):
        with pytest.raises(type(error), match=str(error)):
            use()


def test_a_callback_after_loading_is_called_at_once(loading, load):
    load.end()
    loading.join()
    errors = []
    loading.add_done_callback(errors.append)
    assert errors == [None]
