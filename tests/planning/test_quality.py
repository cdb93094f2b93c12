from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskaug.planning.order import Order, Shuffle
from daskaug.planning.quality import shuffle_quality

N = 20_000


def quality(shuffle: Shuffle) -> float:
    return shuffle_quality(Order(0, N, shuffle, 1, 0).rows(0, N), N)


def test_the_stored_order_has_none_and_a_permutation_all_of_it():
    assert quality(Shuffle("none")) == 0
    assert quality(Shuffle("global")) == pytest.approx(1, abs=0.02)
    assert shuffle_quality(np.arange(N)[::-1], N) == 0


@pytest.mark.parametrize("mix", [1, 2, 4, 8])
def test_mixing_units_comes_to_one_minus_one_by_their_number(mix):
    assert quality(Shuffle("block", unit=50, mix=mix)) == pytest.approx(1 - 1 / mix, abs=0.03)


def test_mixing_all_units_is_a_permutation():
    assert quality(Shuffle("block", unit=100, mix=N // 100)) == pytest.approx(1, abs=0.02)


def test_the_beginning_of_an_order_tells_as_much():
    rows = Order(0, N, Shuffle("block", unit=50, mix=4), 1, 0).rows(0, N)
    assert shuffle_quality(rows[: N // 4], N) == pytest.approx(shuffle_quality(rows, N), abs=0.05)


@given(n=st.integers(0, 60), seed=st.integers(0, 5), kind=st.sampled_from(["none", "block", "global"]))
def test_it_lies_between_0_and_1(n, seed, kind):
    rows = Order(7, 7 + n, Shuffle(kind, 5, 2), seed, 0).rows(0, n)
    assert 0 <= shuffle_quality(rows, n) <= 1
