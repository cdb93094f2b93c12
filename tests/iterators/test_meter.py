from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator
from daskaug.iterators import meter as meters
from tests import pictures

X, Y = pictures.tiles(16, 50), np.arange(50)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(meters.time, "perf_counter", lambda: self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


def serve(meter, clock, seconds, images=10, nbytes=1000):
    meter.begin()
    clock.passes(seconds)
    meter.end(images, np.zeros(nbytes, np.uint8))


def test_waiting_is_told_from_working(clock):
    meter = meters.Meter()
    assert (meter.share_waited, meter.images_per_second, meter.cache_hit_share) == (0, 0, None)
    serve(meter, clock, 5)
    assert meter.seconds_to_first_batch == 5
    for _ in range(4):
        clock.passes(3)  # the consumer works
        serve(meter, clock, 1)
    assert meter.seconds_waited == 9
    assert meter.share_waited == pytest.approx(4 / 16)
    assert meter.images_per_second == pytest.approx(40 / 16)
    assert meter.nbytes_per_second == pytest.approx(4000 / 16)
    assert (meter.batches, meter.images, meter.nbytes) == (5, 50, 5000)
    assert str(meter) == "2 images/s, 0.0 MB/s, waited 25.0 % of the time"
    meter.reset()
    assert (meter.batches, meter.images, meter.seconds_waited, meter.share_waited) == (0, 0, 0, 0)


def test_threads_that_wait_together_wait_once(clock):
    meter = meters.Meter()
    serve(meter, clock, 1)
    meter.begin()
    clock.passes(1)
    meter.begin()
    clock.passes(2)
    meter.end(10, None)
    clock.passes(1)
    meter.end(10, None)
    assert meter.seconds_waited == 5
    assert meter.share_waited == 1


def test_an_error_is_waited_for_and_is_no_batch(clock):
    meter = meters.Meter()
    serve(meter, clock, 1)
    serve(meter, clock, 2, images=0)
    assert (meter.batches, meter.images, meter.seconds_waited) == (1, 10, 3)
    assert 0 <= meter.share_waited <= 1


@pytest.mark.parametrize("asked", ["next", "index"])
def test_an_iterator_counts_what_it_hands_out(asked):
    batches = ImageDataGenerator().flow(X, Y, batch_size=16, seed=1)
    handed = [next(batches) if asked == "next" else batches[i] for i in range(4)]
    assert batches.meter.batches == 4
    assert batches.meter.images == 50
    assert batches.meter.nbytes == sum(x.nbytes + y.nbytes for x, y in handed)
    assert batches.meter.seconds_waited > 0
    assert batches.meter.cache_hit_share is None
    assert pickle.loads(pickle.dumps(batches)).meter.batches == 0


def test_blocks_of_a_store_are_counted(tmp_path):
    stored = zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(10, 16, 16, 3))
    batches = ImageDataGenerator().flow(stored, batch_size=5, shuffle_unit=10, shuffle_mix=2, seed=1)
    list(batches.one_epoch())
    assert batches.meter.nbytes_read == X.nbytes
    assert batches.meter.cache_misses == 5
    assert batches.meter.cache_hits > 0
    assert "cache hits" in str(batches.meter)
    assert "\n" not in str(batches.meter)


def test_threads_lose_no_count():
    batches = ImageDataGenerator().flow(X, Y, batch_size=3, seed=1)
    threads = [threading.Thread(target=lambda: [next(batches) for _ in range(17)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert batches.meter.batches == 4 * 17
    assert batches.meter.images == 4 * 50
