"""Interrupts, one and several."""

from __future__ import annotations

import signal
import threading

import pytest

from daskaug.stopping import OneInterrupt


def test_of_several_interrupts_one_gets_through_until_it_is_dealt_with():
    before = signal.getsignal(signal.SIGINT)
    waiting = OneInterrupt()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), waiting:
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        waiting.restore()
        assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_after_waiting_interrupts_are_as_before():
    before, waiting = signal.getsignal(signal.SIGINT), OneInterrupt()
    with waiting:
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ValueError, match="no interrupt"), waiting:
        raise ValueError("no interrupt")
    assert signal.getsignal(signal.SIGINT) is before


def test_what_raises_nothing_goes_on_being_asked():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("asked"))
    try:
        with OneInterrupt():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == ["asked", "asked"]


def test_other_threads_are_never_interrupted():
    before, found = signal.getsignal(signal.SIGINT), []

    def wait():
        with OneInterrupt():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert found == [before]
