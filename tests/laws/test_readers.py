"""However batches are asked for they are the same, and nothing is left behind by whoever asked."""

from __future__ import annotations

import functools
import gc
import os
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator, image, seeding
from tests import pictures

N, SEED = 90, 4
X, Y = pictures.tiles(16, N), np.arange(N)
TURNING = ImageDataGenerator(rotation_range=30, horizontal_flip=True)


@pytest.fixture(params=["array", "zarr"])
def flow(request, tmp_path):
    x = X if request.param == "array" else zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, 16, 16, 3))
    return functools.partial(TURNING.flow, x, Y, batch_size=4, seed=SEED, shuffle_unit=10, shuffle_mix=3)


@pytest.mark.parametrize("order", ["in turn", "at random", "together with next"])
def test_four_threads_get_the_batches_of_one(flow, order):
    expected = [(x.tobytes(), y.tolist()) for x, y in flow().one_epoch()]
    batches = flow()
    numbers = range(len(batches)) if order == "in turn" else seeding.permutation(1, 0, len(batches)).tolist()
    with ThreadPoolExecutor(4) as threads:
        if order == "together with next":  # which goes its own way
            iterated = [threads.submit(next, batches) for _ in range(len(batches) - 1)]
        found = dict(zip(numbers, threads.map(batches.__getitem__, numbers), strict=True))
    assert [(found[i][0].tobytes(), found[i][1].tolist()) for i in range(len(batches))] == expected
    if order == "together with next":
        got = sorted(y.tolist() for _, y in (future.result() for future in iterated))
        assert got == sorted(y for _, y in expected[:-1])


def working_threads() -> set[threading.Thread]:
    return set(threading.enumerate())


@pytest.mark.parametrize("how", ["closed", "dropped", "failed"])
def test_nothing_is_left_behind(flow, how):
    list(flow().one_epoch())  # the process' own pool of threads is there from now on
    before = working_threads()

    def consume():
        batches = flow()
        gone = weakref.ref(batches)
        for number, _ in enumerate(batches):
            if number == 3 and how == "failed":
                raise ZeroDivisionError
            if number == 3:
                break
        if how == "closed":
            batches.close()
        return gone

    if how == "failed":
        with pytest.raises(ZeroDivisionError):
            consume()
        gc.collect()
    else:
        gone = consume()
        gc.collect()
        assert gone() is None
    assert working_threads() == before


def test_a_closed_iterator_goes_on(flow):
    expected = [y.tolist() for _, y in flow().one_epoch()]
    batches = flow()
    seen = []
    for _ in range(len(batches)):
        seen.append(next(batches)[1].tolist())
        batches.close()
    assert seen == expected


@pytest.fixture
def _interruptible():
    """A process in the background of a shell may have been started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_reaches_the_consumer_and_the_iterator_goes_on():
    first = threading.Event()

    def interrupting(image):
        if not first.is_set():
            first.set()
            os.kill(os.getpid(), signal.SIGINT)
        return image

    batches = ImageDataGenerator(preprocessing_function=interrupting).flow(X, Y, batch_size=8, seed=SEED)
    with pytest.raises(KeyboardInterrupt):
        list(batches.one_epoch())
    whole = ImageDataGenerator().flow(X, Y, batch_size=8, seed=SEED)
    assert batches.epoch == 0
    for (x, y), (other_x, other_y) in zip(batches.one_epoch(), whole.one_epoch(), strict=True):
        assert np.array_equal(x, other_x)
        assert np.array_equal(y, other_y)


class Own(image.Iterator):
    def _get_batches_of_transformed_samples(self, index_array):
        return X[index_array]


def test_an_iterator_of_the_users_is_not_kept_alive():
    batches = Own(N, 8, True, SEED)
    next(batches)
    gone = weakref.ref(batches)
    del batches
    gc.collect()
    assert gone() is None
