"""Many tasks on a cluster: few messages, results in order, and errors as if each came alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from daskaug.execution import current_executor, run_ordered
from daskaug.execution.executor import threads_executor, usual_window
from daskaug.fit_plan import BLOCKS_OF_CORE, most_of_block
from daskaug.planning.blocks import TARGET_NBYTES
from daskaug.sources.base import BlockReader, CarryingReader
from tests.clusters import workers


@pytest.fixture(scope="module")
def client():
    from distributed import Client

    with workers(2, processes=False) as local, Client(local) as client:
        yield client


@dataclasses.dataclass(frozen=True)
class Number(BlockReader):
    """A block that is one number."""

    number: int

    def load(self):
        return np.array(self.number)


def tasks(count: int):
    return ((Number(i), (i,)) for i in range(count))


def twice(block, i):
    if i == 70:
        raise ValueError("seventy")
    return int(block) + i


class Counted:
    """An executor, with what is asked of it."""

    def __init__(self, executor) -> None:
        self._executor, self.submitted, self.fetches = executor, [], 0

    def __getattr__(self, name):
        return getattr(self._executor, name)

    def submit_all(self, function, tasks, name):
        made = self._executor.submit_all(function, tasks, name)
        self.submitted.append(len(made))
        return made

    def fetch(self, pending):
        self.fetches += 1
        return self._executor.fetch(pending)


def test_results_come_in_order_whatever_shares_a_message(client):
    on = Counted(current_executor())
    assert list(run_ordered(on, lambda block, i: int(block) + i, tasks(300), name="test")) == list(range(0, 600, 2))
    assert sum(on.submitted) == 300
    assert on.submitted[0] == usual_window(on, carries=False) == 32
    client.nthreads()  # whatever its event loop had to do is done before it answers
    assert len(client.futures) == 0


def test_an_error_comes_at_its_place(client):
    results = run_ordered(current_executor(), twice, tasks(300), name="test")
    assert [next(results) for _ in range(70)] == list(range(0, 140, 2))
    with pytest.raises(ValueError, match="seventy"):
        next(results)
    client.nthreads()
    assert len(client.futures) <= 1  # that of the error, which its traceback holds


def test_pixels_that_travel_have_messages_of_their_own_and_are_few(client):
    readers = ((CarryingReader(np.full(3, i), f"block {i}"), (i,)) for i in range(50))
    on = Counted(current_executor())
    assert list(run_ordered(on, lambda block, i: int(block.sum()), readers, name="test")) == list(range(0, 150, 3))
    assert max(on.submitted) <= 2 * on.parallelism


def test_pixels_are_made_when_the_tasks_before_are_submitted(client):
    """The first one begins while the others are decoded."""
    submitted: list[int] = []

    def readers():
        for i in range(4):
            submitted.append(len(client.futures))
            yield CarryingReader(np.full(3, i), f"block {i}"), (i,)

    pending = current_executor().submit_all(lambda block, i: i, readers(), "test")
    assert [each.result() for each in pending] == [0, 1, 2, 3]
    assert submitted == [0, 1, 2, 3]


def test_large_arguments_do_not_add_up_in_a_message(client):
    """dask warns of graphs above 10 MB, and warnings are errors here."""
    ballast = ((Number(i), (np.zeros(2**17), i)) for i in range(64))
    assert list(run_ordered(current_executor(), lambda block, zeros, i: i, ballast, name="test")) == list(range(64))


@dataclasses.dataclass(frozen=True)
class Large:
    """As many cores as one likes."""

    parallelism: int
    is_remote: bool = True


def test_blocks_are_longer_on_a_large_cluster():
    terabyte = 10**12
    assert most_of_block(terabyte, threads_executor()) == TARGET_NBYTES
    assert most_of_block(terabyte, Large(16)) == TARGET_NBYTES
    assert most_of_block(terabyte, Large(128)) == 4 * TARGET_NBYTES
    assert most_of_block(10 * terabyte, Large(1000)) > 8 * TARGET_NBYTES


def test_no_core_is_without_work_for_the_sake_of_long_blocks():
    for cores in (64, 1000, 5000):
        for nbytes in (10**9, 10**11, 10**13):
            most = most_of_block(nbytes, Large(cores))
            assert most == TARGET_NBYTES or nbytes / most >= BLOCKS_OF_CORE * cores
