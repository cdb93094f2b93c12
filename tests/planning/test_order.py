from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskaug.errors import ConfigError
from daskaug.planning.order import Order, Shuffle, split_rows

shuffles = st.builds(Shuffle, st.sampled_from(["none", "block", "global"]), st.integers(1, 70), st.integers(1, 5))


@given(shuffle=shuffles, start=st.integers(0, 200), n=st.integers(0, 500), seed=st.integers(0, 9))
def test_an_epoch_visits_every_row_once(shuffle, start, n, seed):
    order = Order(start, start + n, shuffle, seed, epoch=1)
    assert np.array_equal(np.sort(order.rows(0, n)), np.arange(start, start + n))


@given(shuffle=shuffles, n=st.integers(1, 500), data=st.data())
def test_any_stretch_is_the_same_piece_of_the_whole(shuffle, n, data):
    order = Order(17, 17 + n, shuffle, 4, epoch=2)
    first = data.draw(st.integers(0, n))
    last = data.draw(st.integers(first, n + 10))
    assert np.array_equal(order.rows(first, last), order.rows(0, n)[first:last])


@pytest.mark.parametrize("kind", ["block", "global"])
def test_seeds_and_epochs_shuffle_differently_and_repeatably(kind):
    def rows(seed, epoch):
        return Order(0, 1000, Shuffle(kind, 64, 4), seed, epoch).rows(0, 1000).tolist()

    assert rows(1, 0) == rows(1, 0)
    assert len({tuple(rows(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_block_shuffle_reads_few_units_at_a_time_and_mixes_them():
    shuffle = Shuffle("block", unit=50, mix=4)
    rows = Order(0, 2000, shuffle, 3, 0).rows(0, 2000)
    for group in rows.reshape(-1, 200):
        assert len(set(group // 50)) == 4
        assert len(set(group[:50] // 50)) == 4  # all four of them, from the start
    assert len({tuple(sorted(set(group // 50))) for group in rows.reshape(-1, 200)}) == 10


def test_a_subset_keeps_the_units_of_the_whole():
    rows = Order(130, 400, Shuffle("block", unit=100, mix=1), 3, 0).rows(0, 270)
    changes = np.flatnonzero(np.diff(rows // 100)) + 1
    assert sorted(len(unit) for unit in np.split(rows, changes)) == [70, 100, 100]


@pytest.mark.parametrize(
    ("n", "split", "subset", "rows"),
    [
        (10, 0.25, None, (0, 10)),
        (10, 0.25, "validation", (0, 2)),
        (10, 0.25, "training", (2, 10)),
        (0, 0.5, "training", (0, 0)),
        (10, 0.0, "validation", (0, 0)),
    ],
)
def test_the_first_rows_are_for_validation(n, split, subset, rows):
    assert split_rows(n, split, subset) == rows


def test_bad_values_are_named():
    with pytest.raises(ConfigError, match=r"`subset`.*'test'"):
        split_rows(10, 0.5, "test")
    with pytest.raises(ConfigError, match=r"`shuffle`.*'random'"):
        Shuffle.of("random", random_access=True)
    with pytest.raises(ConfigError, match="`shuffle_unit`"):
        Shuffle.of("block", random_access=True, unit=0)
    with pytest.raises(ConfigError, match="`shuffle_mix`"):
        Shuffle.of("block", random_access=True, mix=1.5)
