"""One hash, whoever computes the store, however its source is cut and however its tasks are handed out.

That S3 holds the same is said in tests/stores/test_materialize_s3.py.
"""

from __future__ import annotations

import functools
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import Client

from daskaug.materialize import filling
from tests import clusters
from tests.faults.runs import ROWS, WAIT_SECONDS, images, make, undisturbed

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> str:
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))


def test_on_one_two_and_four_worker_processes(expected, tmp_path):
    with clusters.workers(1) as cluster, Client(cluster) as client:
        for number in (1, 2, 4):
            cluster.scale(number)
            client.wait_for_workers(number, timeout=WAIT_SECONDS)
            report = make(tmp_path / f"{number}.zarr")
            assert (report.rows_written, report.store_hash) == (ROWS, expected)


CUTS = {
    "one image": {"chunks": (1, 48, 48, 3)},
    "across shards": {"chunks": (10, 17, 48, 2)},
    "all in one": {"chunks": (104, 48, 48, 3)},
    "sharded": {"chunks": (3, 48, 24, 3), "shards": (33, 48, 48, 3)},
}


@pytest.mark.parametrize("cut", CUTS)
def test_from_sources_that_are_cut_otherwise(cut, expected, tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=images(), **CUTS[cut])
    assert make(tmp_path / "m.zarr", tmp_path / "x.zarr").store_hash == expected


@pytest.mark.parametrize("rows", [5, 50])
def test_from_a_dask_graph(rows, expected, tmp_path):
    x = da.from_array(images().copy(), chunks=(rows, 48, 48, 3)) + np.uint8(0)
    assert make(tmp_path / "m.zarr", x).store_hash == expected


@pytest.mark.parametrize("window", [1, 100])
def test_with_one_task_at_a_time_and_with_all_of_them(window, expected, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(filling, "run_ordered", with_window(filling.run_ordered, window))
    assert make(tmp_path / "m.zarr").store_hash == expected


def with_window(run_ordered, window):
    @functools.wraps(run_ordered)
    def run(*args, **options):
        return run_ordered(*args, **options | {"window": window})

    return run
