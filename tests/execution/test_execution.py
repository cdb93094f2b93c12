from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from daskaug.execution import current_executor, run_ordered, single_threaded_blas
from daskaug.execution.blas import _controller
from daskaug.sources.base import CarryingReader


def readers(count: int):
    return ((CarryingReader(np.full(3, i), f"block {i}"), (i,)) for i in range(count))


def test_results_come_in_order_and_the_window_is_bounded():
    submitted = []

    def tasks():
        for reader, args in readers(100):
            submitted.append(args[0])
            yield reader, args

    results = run_ordered(current_executor(), lambda block, i: int(block.sum()) + i, tasks(), name="test", window=5)
    for i in range(100):
        assert next(results) == 4 * i
        assert len(submitted) <= i + 6
    assert next(results, "end") == "end"


def test_an_error_names_the_block_and_ends_the_rest():
    def fail(block, i):
        if i == 3:
            raise ValueError("three")
        return i

    results = run_ordered(current_executor(), fail, readers(1000), name="test")
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three") as caught:
        next(results)
    assert "block 3" in "".join(caught.value.__notes__)


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in _controller().info() if library["user_api"] == "blas"}


def test_overlapping_blas_limits_are_lifted_in_the_end():
    before = blas_threads()
    both_inside = threading.Barrier(2)

    def enter(first: bool):
        with single_threaded_blas():
            both_inside.wait()
            assert blas_threads() == {1}
        both_inside.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(enter, (True, False)))
    assert blas_threads() == before


UNASKED = """
import distributed, numpy
from daskaug import ImageDataGenerator
from daskaug.execution import current_executor

ImageDataGenerator(featurewise_center=True).fit(numpy.zeros((4, 8, 8, 3), "uint8"))
assert not current_executor().is_remote
try:
    print("found", distributed.Client.current())
except ValueError:
    print("none")
"""


def test_no_cluster_is_created_unasked():
    """In a process of its own: a client that could not connect is a current one until it is collected."""
    done = subprocess.run([sys.executable, "-c", UNASKED], capture_output=True, text=True, timeout=120)
    assert done.stdout == "none\n", done.stdout + done.stderr
