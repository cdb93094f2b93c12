from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daskaug.planning.order import Order, Shuffle
from daskaug.planning.reading_ahead import ReadingAhead

shuffles = st.builds(Shuffle, st.sampled_from(["none", "block"]), st.integers(1, 40), st.integers(1, 4))


@given(shuffle=shuffles, start=st.integers(0, 90), n=st.integers(1, 400), data=st.data())
def test_a_group_is_read_at_the_positions_at_which_it_is_visited(shuffle, start, n, data):
    order = Order(start, start + n, shuffle, 5, epoch=2)
    whole = order.as_read(0, n)
    first = data.draw(st.integers(0, n))
    last = data.draw(st.integers(first, n + 10))
    assert np.array_equal(order.as_read(first, last), whole[first:last])
    groups = np.array([order.group_start(position) for position in range(n)])
    for begin in np.unique(groups):
        here = np.flatnonzero(groups == begin)
        assert sorted(whole[here]) == sorted(order.rows(here[0], here[-1] + 1))
        if shuffle.kind == "block":
            assert len(set((whole[here] // shuffle.unit).tolist())) <= shuffle.mix
    if shuffle.kind == "block":  # unit by unit, each in the order of the data
        assert np.count_nonzero(np.diff(whole) != 1) < len(set((whole // shuffle.unit).tolist()))


@given(
    shuffle=shuffles,
    n=st.integers(1, 300),
    steps=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    more=st.integers(0, 100),
)
def test_everything_is_read_once_and_in_time(shuffle, n, steps, more):
    """Whatever the sizes of the steps, through several epochs."""
    lead = shuffle.unit * shuffle.mix + more

    def order(epoch: int) -> Order:
        return Order(0, n, shuffle, 3, epoch)

    ahead = ReadingAhead(lead)
    read: list[tuple[int, int]] = []
    position = 0
    for step in steps:
        first, last = divmod(position, n), divmod(position + step, n)
        for epoch, rows in ahead.advance(order, first, last):
            read += [(epoch, row) for row in rows.tolist()]
        visited = [(p // n, int(order(p // n).rows(p % n, p % n + 1)[0])) for p in range(position, position + step)]
        if step <= n:
            assert set(visited) <= set(read)
        position += step
    assert len(set(read)) == len(read)
    assert len(read) <= position + lead


def test_after_a_jump_it_begins_with_the_group_that_is_visited():
    def order(epoch: int) -> Order:
        return Order(0, 400, Shuffle("block", 20, 5), 3, epoch)

    ahead = ReadingAhead(100)
    list(ahead.advance(order, (0, 0), (0, 30)))
    (found,) = ahead.advance(order, (7, 250), (7, 260))
    assert found[0] == 7
    assert np.array_equal(found[1], order(7).as_read(200, 360))
    (found,) = ahead.advance(order, (7, 10), (7, 20))  # and back
    assert np.array_equal(found[1], order(7).as_read(0, 120))
