"""Ranges of rows, against sets of integers."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from daskaug.planning.coverage import Coverage

ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12)


@given(ranges, st.integers(0, 40), st.integers(0, 40))
def test_like_a_set(added, start, stop):
    coverage = Coverage(added)
    numbers = set().union(*(range(a, b) for a, b in added)) if added else set()
    assert {number for a, b in coverage for number in range(a, b)} == numbers
    assert len(coverage) == len(numbers)
    pairs = list(coverage)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(pairs))
    missing = list(coverage.missing(start, stop))
    assert [number for a, b in missing for number in range(a, b)] == [n for n in range(start, stop) if n not in numbers]
    assert all(a < b for a, b in missing)
