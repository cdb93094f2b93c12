"""Several consumers of the same epochs: together they see what one alone would see."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import zarr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import ConfigError
from tests import files, pictures

N = 53
X, Y = pictures.tiles(16, N), np.arange(N)
TURNING = ImageDataGenerator(rotation_range=30, horizontal_flip=True)


@functools.cache
def alone(shuffle: str) -> dict[int, bytes]:
    """Pixels by label of epoch 1, in the order in which a single consumer sees them."""
    epochs = TURNING.flow(X, Y, batch_size=10, seed=5, shuffle=shuffle, shuffle_unit=8, shuffle_mix=2).epochs(2)
    return [in_order(epoch) for epoch in epochs][1]


def in_order(batches) -> dict[int, bytes]:
    return {int(label): image.tobytes() for x, y in batches for image, label in zip(x, y, strict=True)}


@settings(max_examples=12)
@given(
    batch_size=st.integers(1, 12),
    world_size=st.integers(1, 9),
    shuffle=st.sampled_from(["none", "block", "global"]),
    drop_last=st.booleans(),
)
def test_ranks_together_see_the_order_of_one_alone(batch_size, world_size, shuffle, drop_last):
    assume(not drop_last or batch_size * world_size <= N)
    iterators = [
        TURNING.flow(
            X, Y, batch_size, shuffle, seed=5, shuffle_unit=8, shuffle_mix=2, shard=(r, world_size), drop_last=drop_last
        )
        for r in range(world_size)
    ]
    epochs = [[list(epoch) for epoch in iterator.epochs(2)][1] for iterator in iterators]
    assert [len(epoch) for epoch in epochs] == [len(iterator) for iterator in iterators]
    step_by_step = [rank[step] for step in range(len(epochs[0])) for rank in epochs]
    assert all(len(y) >= 1 for _, y in step_by_step)
    seen = in_order(step_by_step)
    assert sum(len(y) for _, y in step_by_step) == len(seen)  # nobody saw what another did
    kept = N // (batch_size * world_size) * batch_size * world_size if drop_last else N
    assert list(seen.items()) == list(alone(shuffle).items())[:kept]
    assert all(np.array_equal(iterator.index_array, iterators[0].index_array) for iterator in iterators)
    assert {iterator.n for iterator in iterators} == {N}


@pytest.mark.parametrize("reader", ["index", "several at a time"])
def test_a_rank_can_be_indexed(reader):
    options = {"batch_size": 6, "seed": 5, "shard": (1, 3)}
    ours = TURNING.flow(X, Y, **options)
    expected = [y.tolist() for _, y in TURNING.flow(X, Y, **options).one_epoch()]
    numbers = range(len(ours)) if reader == "several at a time" else reversed(range(len(ours)))
    found = {i: ours[i][1].tolist() for i in numbers}
    assert [found[i] for i in range(len(ours))] == expected
    with pytest.raises(IndexError, match="3 batches"):
        ours[3]


def test_every_flow_has_ranks_and_ids(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, 16, 16, 3))
    TURNING.materialize(X, tmp_path / "made.zarr", y=Y, epochs=2, seed=5)
    folder, _, labels = files.write_digits(tmp_path / "digits", 40)
    import pandas as pd

    made = ImageDataGenerator()
    listed = made.flow_from_directory(folder, target_size=(8, 8), seed=5)
    table = pd.DataFrame({"filename": listed.filenames, "class": labels.astype(str)})
    shared = {"batch_size": 4, "seed": 5, "with_ids": True}
    flows = {
        "array": (functools.partial(made.flow, X, Y, **shared), N),
        "zarr": (functools.partial(made.flow, tmp_path / "x.zarr", Y, **shared), N),
        "store": (functools.partial(open_materialized(tmp_path / "made.zarr").flow, **shared), N),
        "folder": (functools.partial(made.flow_from_directory, folder, target_size=(8, 8), **shared), 40),
        "dataframe": (functools.partial(made.flow_from_dataframe, table, folder, target_size=(8, 8), **shared), 40),
    }
    for name, (flow, n) in flows.items():
        whole = flow()
        expected = whole.ids[whole.index_array]
        assert np.array_equal(np.concatenate([batch[-1] for batch in whole.one_epoch()]), expected), name
        shards = [list(flow(shard=(rank, 2)).one_epoch()) for rank in (0, 1)]
        together = np.concatenate([rank[step][-1] for step in range(len(shards[0])) for rank in shards])
        assert np.array_equal(together, expected), name
        assert len(np.unique(together)) == n, name
        assert {len(batch[-1]) for batch in flow(shard=(1, 2), drop_last=True).one_epoch()} == {4}, name


def test_bad_ranks_are_refused_before_any_work():
    with pytest.raises(ConfigError, match=r"`shard` must be \(rank, world_size\).*\(2, 2\)"):
        TURNING.flow(X, seed=1, shard=(2, 2))
    with pytest.raises(ConfigError, match=r"53 rows, fewer than the ranks of shard=\(0, 60\)"):
        TURNING.flow(X, seed=1, shard=(0, 60))
    with pytest.raises(ConfigError, match="drop_last=True would leave nothing of 53 rows"):
        TURNING.flow(X, batch_size=54, drop_last=True)
    with pytest.raises(ConfigError, match="the same seed"):
        TURNING.flow(X, shard=(0, 2))
    for options in ({"shard": (0, 2)}, {"drop_last": True}):
        with pytest.raises(ConfigError, match='compat="keras"'):
            ImageDataGenerator(compat="keras").flow(X, seed=1, **options)


def test_a_batch_size_that_leaves_nothing_is_refused_and_changes_nothing():
    batches = TURNING.flow(X, Y, batch_size=10, seed=1, shard=(0, 2), drop_last=True)
    with pytest.raises(ConfigError, match="batch_size=30 on each of 2 ranks"):
        batches.batch_size = 30
    assert (batches.batch_size, len(batches)) == (10, 2)
    batches.batch_size = 5
    assert [len(y) for _, y in batches.one_epoch()] == [5] * 5
