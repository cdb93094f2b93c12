"""An iterator that goes on where another one stopped."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daskaug import ImageDataGenerator, image, open_materialized
from daskaug.errors import ConfigError, SourceError, StoreError
from tests import clusters, files, pictures

N, SEED = 47, 11
X, Y = pictures.tiles(16, N), np.arange(N)
TURNING = ImageDataGenerator(rotation_range=30, horizontal_flip=True, brightness_range=(0.5, 1.5))
UNITS = {"shuffle_unit": 8, "shuffle_mix": 2}


def travelled(state: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(state))


def digest(batch) -> str:
    parts = batch if isinstance(batch, tuple) else (batch,)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


@pytest.fixture(scope="module")
def flows(tmp_path_factory) -> dict[str, Callable[..., Any]]:
    root = tmp_path_factory.mktemp("resume")
    zarr.create_array(root / "x.zarr", data=X, chunks=(5, 16, 16, 3))
    TURNING.materialize(X, root / "made.zarr", y=Y, epochs=2, seed=SEED)
    folder, _, _ = files.write_digits(root / "digits", N)
    return {
        "array": functools.partial(TURNING.flow, X, Y),
        "rank": functools.partial(TURNING.flow, X, Y, seed=SEED, shard=(1, 3)),
        "zarr": functools.partial(TURNING.flow, root / "x.zarr", Y, **UNITS),
        "store": functools.partial(open_materialized(root / "made.zarr").flow, **UNITS),
        "folder": functools.partial(TURNING.flow_from_directory, folder, target_size=(8, 8)),
    }


@pytest.mark.parametrize("kind", ["array", "rank", "zarr", "store", "folder"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_from_every_position_the_tail_is_the_same(flows, kind, drop_last):
    flow = functools.partial(flows[kind], batch_size=6, drop_last=drop_last)
    whole = flow(seed=SEED)
    next(whole.one_epoch())
    steps = len(whole)
    whole.reset()  # epoch 1
    states, digests = [whole.state_dict()], []
    for _ in range(3 * steps):
        digests.append(digest(next(whole)))
        states.append(whole.state_dict())
    assert states[steps]["epoch"] == 2
    for done, state in enumerate(states[: steps + 1]):
        resumed = flow()
        resumed.load_state_dict(travelled(state))
        assert resumed.state_dict() == state
        assert len(resumed) == (steps - done if done < steps else steps)
        rest = [digest(batch) for batch in resumed.one_epoch()]
        assert rest + [digest(batch) for batch in resumed.one_epoch()] == digests[done:][: len(rest) + steps]
        assert resumed.epoch == (3 if done < steps else 4)


@settings(max_examples=12)
@given(
    shuffle=st.sampled_from(["none", "block", "global"]),
    batch_sizes=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    world_sizes=st.lists(st.integers(1, 4), min_size=3, max_size=3),
    data=st.data(),
)
def test_batch_size_and_ranks_may_change_on_the_way(shuffle, batch_sizes, world_sizes, data):
    """A run goes on with other batches on other ranks, again and again; together it is one epoch in its order."""
    flow = functools.partial(TURNING.flow, X, Y, shuffle=shuffle, seed=SEED, **UNITS)
    expected = [int(label) for _, y in flow(batch_size=5).one_epoch() for label in y]
    seen: list[int] = []
    state = None
    for batch_size, world_size in zip(batch_sizes, world_sizes, strict=False):
        ranks = [flow(batch_size=batch_size, shard=(rank, world_size)) for rank in range(world_size)]
        if state is not None:
            left = N - state["position"]
            if state["epoch"] or left < world_size:
                break
            for rank in ranks:
                rank.load_state_dict(state)
        for _ in range(data.draw(st.integers(0, len(ranks[0])))):
            seen += [int(label) for rank in ranks for label in next(rank)[1]]
        states = [rank.state_dict() for rank in ranks]
        assert all(other == states[0] for other in states)
        state = travelled(states[0])
    last = flow(batch_size=4)
    last.load_state_dict(state)
    if state["epoch"] == 0:
        seen += [int(label) for _, y in last.one_epoch() for label in y]
    assert seen == expected
    assert last.epoch == 1


def test_what_is_left_of_an_epoch_is_an_epoch():
    whole = TURNING.flow(X, Y, batch_size=6, seed=SEED)
    expected = [[digest(batch) for batch in epoch] for epoch in whole.epochs(3)]
    other = TURNING.flow(X, Y, batch_size=6, seed=SEED)
    for _ in range(3):
        next(other)
    resumed = TURNING.flow(X, Y, batch_size=6)
    resumed.load_state_dict(other.state_dict())
    assert (resumed.seed, resumed.seed_used) == (None, SEED)
    assert len(resumed) == 5
    assert [digest(resumed[i]) for i in (4, 0, 2)] == [expected[0][i] for i in (7, 3, 5)]
    with pytest.raises(IndexError, match="5 batches"):
        resumed[5]
    assert [[digest(batch) for batch in epoch] for epoch in resumed.epochs(3)] == [expected[0][3:], *expected[1:]]
    resumed.load_state_dict(other.state_dict())
    resumed.batch_size = 12
    assert len(resumed) == 3
    assert next(resumed)[1].tolist() == whole.ids[_order(0)][18:30].tolist()


def _order(epoch: int) -> np.ndarray:
    batches = TURNING.flow(X, seed=SEED)
    batches.epoch = epoch
    return batches.index_array


def test_a_state_is_small_and_costs_little():
    batches = TURNING.flow(X, Y, seed=SEED)
    next(batches)
    state = batches.state_dict()
    assert len(json.dumps(state)) < 300
    assert {"epoch": 0, "position": 32, "seed": SEED}.items() <= state.items()


def test_states_go_from_threads_to_a_cluster_and_from_there_to_more_ranks(flows):
    from distributed import Client

    flow = functools.partial(flows["zarr"], batch_size=5)
    here = flow(seed=SEED)
    expected = [y.tolist() for _, y in flow(seed=SEED).one_epoch()]
    seen = [next(here)[1].tolist() for _ in range(2)]
    with clusters.two_workers() as local, Client(local):
        there = flow()
        there.load_state_dict(travelled(here.state_dict()))
        seen += [next(there)[1].tolist() for _ in range(3)]
        state = there.state_dict()
        there.close()
    assert seen == expected[:5]
    ranks = [flow(seed=SEED, shard=(rank, 2)) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict(state)
    left = [[y for _, y in rank.one_epoch()] for rank in ranks]
    together = np.concatenate([rank[step] for step in range(len(left[0])) for rank in left])
    assert together.tolist() == [label for batch in expected[5:] for label in batch]


# --- what cannot go on -------------------------------------------------------------------------------------------


def test_a_state_of_something_else_is_refused():
    made = TURNING.flow(X, Y, batch_size=6, seed=SEED)
    next(made)
    state = made.state_dict()
    changed = X.copy()
    changed[0] += 1
    for other, message in (
        (TURNING.flow(changed, Y, seed=SEED), "other data"),
        (TURNING.flow(X, Y[::-1], seed=SEED), "other data"),
        (TURNING.flow(X, Y, seed=SEED, ids=Y + 1), "other data"),
        (TURNING.flow(X[:-1], Y[:-1], seed=SEED), "rows 0 to 47.*rows 0 to 46"),
    ):
        with pytest.raises(StoreError, match=message):
            other.load_state_dict(state)
    for other, message in (
        (TURNING.flow(X, Y, seed=SEED + 1), "seed=11.*seed=12"),
        (TURNING.flow(X, Y, shuffle=False, seed=SEED), 'shuffle="global".*shuffle="none"'),
        (TURNING.flow(X, Y, shuffle="block", seed=SEED), 'shuffle="block", shuffle_unit=256, shuffle_mix=4'),
    ):
        before = repr(other)
        with pytest.raises(ConfigError, match=message):
            other.load_state_dict(state)
        assert repr(other) == before
    same_images = TURNING.flow(np.asfortranarray(X), Y.tolist(), seed=SEED)
    same_images.load_state_dict(state)  # wherever they lie


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"seeding_version": 0}, "seeding_version 0"),
        ({"position": -1}, "not numbers from 0: position"),
        ({"epoch": "one"}, "not numbers from 0: epoch"),
        ({"position": N + 1}, "do not fit"),
    ],
    ids=str,
)
def test_what_is_no_state_is_refused(broken, message):
    batches = TURNING.flow(X, Y, batch_size=6, seed=SEED)
    with pytest.raises(StoreError, match=message):
        batches.load_state_dict(batches.state_dict() | broken)
    for nothing in ({}, [], None, "state"):
        with pytest.raises(StoreError, match="state_dict"):
            batches.load_state_dict(nothing)


def test_a_bad_file_is_no_reason_not_to_save_a_state(tmp_path):
    folder, _, _ = files.write_digits(tmp_path, 20)
    flow = functools.partial(TURNING.flow_from_directory, folder, target_size=(8, 8), batch_size=1, shuffle=False)
    batches = flow(seed=SEED)
    expected = [digest(batch) for batch in batches.one_epoch()]
    Path(batches.filepaths[0]).write_bytes(b"damaged")
    batches = flow(seed=SEED)
    with pytest.raises(SourceError, match=r"row 0"):
        next(batches)
    resumed = flow()
    resumed.load_state_dict(batches.state_dict())
    assert [digest(batch) for batch in resumed.one_epoch()] == expected[1:]


def test_fewer_rows_than_ranks_cannot_be_shared():
    batches = TURNING.flow(X, Y, batch_size=15, seed=SEED)
    for _ in range(3):
        next(batches)
    state = batches.state_dict()
    with pytest.raises(ConfigError, match=r"2 rows are left of the epoch.*at most 2 ranks"):
        TURNING.flow(X, Y, batch_size=2, seed=SEED, shard=(0, 3)).load_state_dict(state)
    dropping = TURNING.flow(X, Y, batch_size=2, seed=SEED, shard=(0, 3), drop_last=True)
    dropping.load_state_dict(state)
    assert (dropping.epoch, len(dropping)) == (1, 7)


class Own(image.Iterator):
    def __init__(self, seed):
        super().__init__(N, 6, True, seed)

    def _get_batches_of_transformed_samples(self, index_array):
        return X[index_array]


class Chosen(image.NumpyArrayIterator):
    def _set_index_array(self):
        self.index_array = np.arange(N)[::-1]


def test_iterators_that_users_write():
    made = Own(SEED)
    digests = [digest(next(made)) for _ in range(10)]
    again = Own(SEED)
    for _ in range(5):
        next(again)
    resumed = Own(None)
    resumed.load_state_dict(travelled(again.state_dict()))
    assert [digest(next(resumed)) for _ in range(5)] == digests[5:]
    with pytest.raises(ConfigError, match="Chosen chooses its order itself"):
        Chosen(X, Y, TURNING).state_dict()
    with pytest.raises(ConfigError, match=r'compat="keras".*Pickle'):
        ImageDataGenerator(compat="keras").flow(X, seed=1).state_dict()


# --- Keras -------------------------------------------------------------------------------------------------------


def test_who_asks_by_number_tells_how_many_batches_count():
    batches = TURNING.flow(X, Y, batch_size=6, seed=SEED)
    batches[0]
    with pytest.raises(ConfigError, match=r"state_dict\(batches="):
        batches.state_dict()
    assert batches.state_dict(batches=3)["position"] == 18
    assert batches.state_dict(batches=8) == batches.state_dict(batches=0) | {"epoch": 1}
    for wrong in (-1, 9, 1.5):
        with pytest.raises(ConfigError, match="`batches`"):
            batches.state_dict(batches=wrong)


def test_fit_goes_on_in_the_middle_of_an_epoch():
    import keras

    images, labels = pictures.digits()
    images, labels = images[:200], labels[:200]
    made = ImageDataGenerator(rotation_range=10, rescale=1 / 16)

    def model():
        keras.utils.set_random_seed(1)
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
        net = keras.Sequential(layers)
        net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return net

    class StopInside(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batches.epoch == 1 and batch == 2:
                self.saved = travelled(batches.state_dict(batches=batch + 1))
                self.model.stop_training = True

    quiet = {"shuffle": False, "verbose": 0}
    uninterrupted, stopped, stop = model(), model(), StopInside()
    uninterrupted.fit(made.flow(images, labels, seed=3), epochs=3, **quiet)
    batches = made.flow(images, labels, seed=3)
    stopped.fit(batches, epochs=3, callbacks=[stop], **quiet)
    resumed = made.flow(images, labels, seed=3)
    resumed.load_state_dict(stop.saved)
    stopped.fit(resumed, initial_epoch=1, epochs=2, **quiet)
    stopped.fit(resumed, initial_epoch=2, epochs=3, **quiet)
    for a, b in zip(uninterrupted.weights, stopped.weights, strict=True):
        assert np.array_equal(np.asarray(a.value), np.asarray(b.value))
    with pytest.raises(ConfigError, match="with_ids=True adds the sample ids"):
        stopped.fit(made.flow(images, labels, seed=3, with_ids=True), **quiet)


# --- a consumer that is killed -----------------------------------------------------------------------------------

CONSUMER = """
import json, sys
from tests.laws import test_resume as laws
batches = laws.TURNING.flow(sys.argv[1], laws.Y, batch_size=6, seed=laws.SEED, **laws.UNITS)
for batch in batches:
    print(json.dumps([laws.digest(batch), batches.state_dict()]), flush=True)
"""


def test_a_killed_consumer_is_continued(tmp_path):
    path = tmp_path / "x.zarr"
    zarr.create_array(path, data=X, chunks=(5, 16, 16, 3))
    consumer = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CONSUMER, str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    with consumer:
        written = [consumer.stdout.readline() for _ in range(11)]
        consumer.send_signal(signal.SIGKILL)
        written += consumer.stdout.readlines()
    assert consumer.returncode == -signal.SIGKILL
    seen = [json.loads(line) for line in written if line.endswith("\n")]
    flow = functools.partial(TURNING.flow, path, Y, batch_size=6, **UNITS)
    resumed = flow()
    resumed.load_state_dict(seen[-1][1])
    going_on = [found for found, _ in seen] + [digest(next(resumed)) for _ in range(12)]
    uninterrupted = flow(seed=SEED)
    assert going_on == [digest(next(uninterrupted)) for _ in range(len(going_on))]
