"""Whose thread it is that something is called from."""

import threading

import pytest

from mycelium.bus import thread


class BareLock:
    """A lock that does not say whose it is."""

    def acquire(self):
        pass


@pytest.fixture(params=[threading.RLock, BareLock], ids=lambda lock: lock.__name__)
def thread_test(request, monkeypatch):
    """Makes such a test, with locks that say whose they are and without."""
    monkeypatch.setattr(thread, "RLock", request.param)
    return thread.thread_test


def in_another_thread(function):
    """What a function gives there."""
    results = []
    other = threading.Thread(target=lambda: results.append(function()))
    other.start()
    other.join()
    return results[0]


def test_a_thread_knows_its_own_tests_only(thread_test):
    is_own = thread_test()
    assert is_own() is True
    assert in_another_thread(is_own) is False
    assert is_own() is True


def test_a_test_of_a_thread_that_has_ended_is_nobody_elses(thread_test):
    is_of_the_ended = in_another_thread(thread_test)
    assert is_of_the_ended() is False


def test_threads_that_make_a_test_each_do_not_disturb_one_another(thread_test):
    own, others = thread_test(), in_another_thread(lambda: (test := thread_test())() and test)
    assert (own(), others()) == (True, False)
