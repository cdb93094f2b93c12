from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from daskaug.errors import ConfigError
from daskaug.planning.steps import Shard, Steps

sizes = {"n": st.integers(1, 300), "batch_size": st.integers(1, 20), "world_size": st.integers(1, 9)}


def ranks(n: int, batch_size: int, world_size: int, **options) -> list[Steps]:
    return [Steps(n, batch_size, Shard(rank, world_size), **options) for rank in range(world_size)]


def pieces(steps: list[Steps]) -> list[list[tuple[int, int]]]:
    """The batches of all ranks, step by step."""
    return [[rank.batch(step) for rank in steps] for step in range(steps[0].count)]


@given(**sizes)
def test_ranks_share_an_epoch_evenly(n, batch_size, world_size):
    assume(n >= world_size)
    steps = ranks(n, batch_size, world_size)
    assert len({rank.count for rank in steps}) == 1
    in_turn = [bounds for step in pieces(steps) for bounds in step]
    assert [first for first, _ in in_turn] == [0, *(last for _, last in in_turn[:-1])]
    assert in_turn[-1][1] == n
    longest = batch_size if batch_size > 1 or n % world_size == 0 else 2
    assert all(1 <= last - first <= longest for first, last in in_turn)
    for step in pieces(steps):
        lengths = [last - first for first, last in step]
        assert max(lengths) - min(lengths) <= 1
    assert sum(rank.images for rank in steps) == n
    assert [rank.position(rank.count) for rank in steps] == [n] * world_size


@given(**sizes)
def test_one_rank_has_full_batches_and_a_shorter_last_one(n, batch_size, world_size):
    steps = Steps(n, batch_size)
    assert [steps.batch(i) for i in range(steps.count)] == [
        (first, min(first + batch_size, n)) for first in range(0, n, batch_size)
    ]


@given(**sizes)
def test_dropping_leaves_full_batches_only(n, batch_size, world_size):
    assume(n >= batch_size * world_size)
    steps = ranks(n, batch_size, world_size, drop_last=True)
    in_turn = [bounds for step in pieces(steps) for bounds in step]
    assert len(in_turn) == n // (batch_size * world_size) * world_size
    assert in_turn == [(first, first + batch_size) for first in range(0, len(in_turn) * batch_size, batch_size)]


@given(**sizes, drop_last=st.booleans(), data=st.data())
def test_the_rest_of_an_epoch_is_cut_like_the_whole(n, batch_size, world_size, drop_last, data):
    assume(n >= (batch_size * world_size if drop_last else world_size))
    rank = Steps(n, batch_size, Shard(data.draw(st.integers(0, world_size - 1)), world_size), drop_last)
    done = data.draw(st.integers(1, rank.count))
    rest = dataclasses.replace(rank, begin=rank.position(done))
    assert [rest.batch(i) for i in range(rest.count)] == [rank.batch(i) for i in range(done, rank.count)]


@given(**sizes, begin=st.integers(1, 300), other_batch_size=st.integers(1, 20))
def test_a_rest_may_begin_anywhere(n, batch_size, world_size, begin, other_batch_size):
    assume(n - begin >= world_size)
    steps = ranks(n, batch_size, world_size, begin=begin)
    in_turn = [bounds for step in pieces(steps) for bounds in step]
    assert in_turn[0][0] == begin
    assert in_turn[-1][1] == n
    assert sum(last - first for first, last in in_turn) == n - begin


@pytest.mark.parametrize("shard", [3, (1,), (1, 1), (-1, 2), (0, 0), (0.0, 2), (True, 2), "02"])
def test_what_is_no_rank_is_refused(shard):
    with pytest.raises(ConfigError, match="`shard` must be"):
        Shard.of(shard)


def test_too_few_rows_are_refused():
    with pytest.raises(ConfigError, match=r"3 rows, fewer than the ranks of shard=\(1, 4\).*at most 3"):
        Steps(3, 2, Shard(1, 4))
    with pytest.raises(ConfigError, match=r"2 rows are left of the epoch.*drop_last=True"):
        Steps(10, 2, Shard(1, 4), begin=8)
    with pytest.raises(ConfigError, match=r"drop_last=True would leave nothing of 7 rows: .* on each of 4 ranks"):
        Steps(7, 2, Shard(1, 4), drop_last=True)
    assert Steps(10, 2, Shard(1, 4), drop_last=True, begin=8).count == 0
    assert Steps(0, 2).count == 0
