from __future__ import annotations

import pickle
import time

from hypothesis import given
from hypothesis import strategies as st

from daskaug.planning.blocks import plan_blocks, plan_from_chunks


def covered(plan) -> list[int]:
    return [row for block in plan for row in range(block.start, block.stop)]


@given(
    start=st.integers(0, 300),
    length=st.integers(0, 300),
    natural=st.integers(1, 50),
    row_nbytes=st.integers(1, 100),
    target=st.integers(1, 5000),
)
def test_blocks_cover_the_rows_once_and_cut_no_chunk(start, length, natural, row_nbytes, target):
    rows = (start, start + length)
    plan = plan_blocks(rows, natural, row_nbytes, target_nbytes=target)
    assert covered(plan) == list(range(*rows))
    assert len(list(plan)) == len(plan)
    assert [plan[i] for i in range(len(plan))] == list(plan)
    assert all(block.start % natural == 0 for block in list(plan)[1:])
    for block in plan:
        assert len(block) > 0
        assert len(block) <= natural or len(block) * row_nbytes <= target


@given(chunks=st.lists(st.integers(0, 20), max_size=20), data=st.data())
def test_plans_from_chunks_follow_the_chunks(chunks, data):
    n = sum(chunks)
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    plan = plan_from_chunks((start, stop), chunks)
    assert covered(plan) == list(range(start, stop))
    assert [plan[i] for i in range(len(plan))] == list(plan)
    edges = {sum(chunks[:i]) for i in range(len(chunks) + 1)}
    assert all(block.start in edges for block in list(plan)[1:])
    assert all(len(block) > 0 for block in plan)


def test_a_plan_for_a_hundred_million_rows_is_small_and_instant():
    began = time.perf_counter()
    plan = plan_blocks((0, 10**8), 1, 3072)
    assert len(plan) == -(-(10**8) // (2**25 // 3072))
    assert plan[len(plan) - 1].stop == 10**8
    assert len(pickle.dumps(plan)) < 300
    assert time.perf_counter() - began < 1
