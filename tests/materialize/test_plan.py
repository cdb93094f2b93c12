"""What materialising would take, and what it then takes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator
from daskaug.errors import StoreError
from daskaug.iterators import Columns, Masks, sample_ids
from daskaug.materialize import Cut, Job, materialize, plan, planning, refuse_misfit
from daskaug.sources import open_images
from tests import pictures
from tests.clusters import two_workers

X = pictures.tiles(32, 200)
OPTIONS = {"rotation_range": 25, "zoom_range": 0.2, "horizontal_flip": True, "brightness_range": (0.7, 1.3)}


def job_of(x: Any, *, masks: Any = None, epochs: int = 2, cut: Cut | None = None) -> Job:
    """What ``ImageDataGenerator(**OPTIONS).materialize(x, epochs=2, seed=5)`` has to do."""
    source, datagen = open_images(x), ImageDataGenerator(**OPTIONS)
    return Job(
        source=source,
        columns=Columns(ids=sample_ids(None, source.shape[0])),
        transform=datagen.block_transform(
            seed=5, standardize=False, config=datagen.config.replace(dtype=source.dtype.name)
        ),
        config=datagen.config,
        fitted=datagen._fitted,
        epochs=epochs,
        masks=Masks.of(masks, source, datagen.config, 0, 0.0),
        cut=cut or Cut(),
    )


def size_of(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def test_the_plan_says_what_will_be_done_and_writes_nothing(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(16, 32, 32, 3))
    job = job_of(tmp_path / "x.zarr", cut=Cut(shard_rows=64, chunk_rows=16))
    planned = plan(job, tmp_path / "m.zarr")
    assert not (tmp_path / "m.zarr").exists()
    assert (planned.rows, planned.shards, planned.rows_there, planned.shards_there) == (400, 7, 0, 0)
    assert planned.nbytes_in == 2 * X.nbytes
    assert planned.disk_free > 0
    assert planned.calibration.images > 0
    planned.check()
    report = materialize(job, tmp_path / "m.zarr")
    assert report.rows_written == planned.rows
    assert 0.7 * size_of(tmp_path / "m.zarr") < planned.encoded_nbytes < 1.3 * size_of(tmp_path / "m.zarr")
    again = plan(job, tmp_path / "m.zarr")
    assert (again.rows_there, again.shards_there, again.nbytes_in, again.calibration) == (400, 7, 0, None)
    for number in (1, 6):
        (tmp_path / f"m.zarr/images/c/{number}/0/0/0").unlink()
    half = plan(job, tmp_path / "m.zarr", calibrate=False)
    assert (half.rows_there, half.shards_there) == (400 - 64 - 16, 5)
    assert "5 of them there already" in str(half)


@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_the_disk_is_told_by_a_trial(tmp_path, codec):
    masks = (X[..., :1] > 100).astype(np.uint8)
    job = job_of(X, masks=masks)
    planned = plan(job, tmp_path / "m.zarr", codec=codec)
    materialize(job, tmp_path / "m.zarr", codec=codec)
    assert 0.7 * size_of(tmp_path / "m.zarr") < planned.encoded_nbytes < 1.3 * size_of(tmp_path / "m.zarr")
    assert f"{planned.calibration.images:,}" in str(planned)


def test_a_disk_that_is_too_small_is_refused_with_the_numbers(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    job = job_of(X)

    def left(free: int) -> None:
        monkeypatch.setattr(planning.shutil, "disk_usage", lambda folder: usage._replace(free=free))

    left(100_000)
    with pytest.raises(StoreError, match=r"needs about .* MB more for 400 images, and its disk has 0.1 MB left"):
        plan(job, tmp_path / "m.zarr").check()
    with pytest.raises(StoreError, match=r"0\.1 MB left"):
        refuse_misfit(job, tmp_path / "m.zarr")
    # Less room than the decoded images, but enough for the encoded ones.
    decoded = plan(job, tmp_path / "m.zarr").nbytes_out
    left(decoded - 1000)
    refuse_misfit(job, tmp_path / "m.zarr")
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_refused_with_the_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(planning.ShardMemory, "task_nbytes", property(lambda self: 10**15))
    with pytest.raises(StoreError, match=r"would need about [1-9][\d,]*,000,000.31 GB .* and has .*`shard_rows`"):
        refuse_misfit(job_of(X), tmp_path / "m.zarr")


def test_stores_elsewhere_and_in_memory_have_no_disk(tmp_path):
    assert plan(job_of(X), zarr.storage.MemoryStore(), calibrate=False).disk_free is None
    assert "not on a disk" in str(plan(job_of(X), "memory://bucket/m.zarr", calibrate=False))


def test_of_what_is_appended_only_the_new_rows_count(tmp_path):
    cut, place = Cut(shard_rows=64, chunk_rows=16), tmp_path / "m.zarr"
    materialize(job_of(X[:120], cut=cut), place)
    planned = plan(job_of(X, cut=cut), place, append=True)
    assert (planned.rows, planned.rows_there, planned.shards) == (2 * 80, 0, 3)
    assert planned.nbytes_in == 2 * X[120:].nbytes
    assert planned.calibration.images <= 2 * 80
    assert sorted(path.name for path in place.iterdir() if path.name == "parts") == []
    report = materialize(job_of(X, cut=cut), place, append=True)
    assert report.rows_written == planned.rows
    nothing = plan(job_of(X, cut=cut), place, append=True)
    assert (nothing.rows - nothing.rows_there, nothing.nbytes_in, nothing.seconds) == (0, 0, None)
    with pytest.raises(StoreError, match="append=True adds to a store, and there is none"):
        plan(job_of(X, cut=cut), tmp_path / "other.zarr", append=True)


@pytest.mark.parametrize(
    ("shard_rows", "tasks", "busiest"), [(400, 2, 400), (200, 2, 200), (144, 2, 256), (144, 1, 400), (16, 3, 144)]
)
def test_few_shards_leave_threads_without_work(tmp_path, monkeypatch, shard_rows, tasks, busiest):
    job = job_of(X, cut=Cut(shard_rows=shard_rows, chunk_rows=8))
    planned = plan(job, tmp_path / "m.zarr", calibrate=False)
    sizes = [stop - start for start, stop in map(job.layout.shard, range(job.layout.shards))]
    assert planning.rows_of_busiest(sizes, tasks) == busiest
    known = planning.Calibration(images=100, images_per_second=100.0 * tasks, spread=0.0, encoded_share=1.0)
    planned = dataclasses.replace(planned, tasks=tasks, rows_of_busiest=busiest, calibration=known)
    seconds, off = planned.seconds
    for possible in (400 / (100 * tasks), busiest / 100):  # all threads to the end, and one by itself
        assert seconds - off <= possible <= seconds + off


def test_a_place_that_holds_something_else_counts_as_empty(tmp_path):
    zarr.create_group(tmp_path / "m.zarr")
    assert plan(job_of(X), tmp_path / "m.zarr", calibrate=False).shards_there == 0


def test_on_a_cluster(tmp_path):
    with two_workers() as local, local.get_client():
        planned = plan(job_of(X), tmp_path / "m.zarr", calibrate=False)
    assert planned.tasks == 2
    assert planned.memory.threads == 1
    assert "2 distributed worker(s)" in planned.runs_on
    assert planned.memory_limit > 0


# --- memory ------------------------------------------------------------------------------------------------------

MEASURED = """
import json, os, re, sys
from pathlib import Path
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
from daskaug import ImageDataGenerator
from daskaug.materialize import Cut, materialize, plan
from tests.materialize.test_plan import job_of

def memory(name):
    # Not getrusage: its peak is at least what the parent had when it started this process.
    return 1024 * int(re.search(name + r":\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

small, large, folder, rows = json.loads(sys.argv[1])
materialize(job_of(small), folder + "/made-small.zarr")  # what is loaded once and stays
before = memory("VmRSS")
job = job_of(large, cut=Cut(shard_rows=rows) if rows else Cut())
planned = plan(job, folder + "/made-large.zarr", calibrate=False)
materialize(job, folder + "/made-large.zarr")
print(json.dumps({"grown": memory("VmHWM") - before, "peak": memory("VmHWM"), "shards": planned.shards,
                  "tasks": planned.memory.nbytes, "stated": planned.memory.peak_nbytes}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak of a process")
@pytest.mark.parametrize(("shard_rows", "dtype"), [(None, "uint8"), (1024, "uint8"), (512, "float32")])
def test_the_projected_memory_is_a_bound_and_not_far_off(tmp_path, shard_rows, dtype):
    zarr.create_array(tmp_path / "small.zarr", data=X, chunks=(50, 32, 32, 3))
    tiles = np.concatenate([pictures.tiles(96, 200)] * (40 if dtype == "uint8" else 15)).astype(dtype)
    zarr.create_array(tmp_path / "large.zarr", data=tiles, chunks=(32, 96, 96, 3))
    arguments = [str(tmp_path / "small.zarr"), str(tmp_path / "large.zarr"), str(tmp_path), shard_rows]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, json.dumps(arguments)],
        env=os.environ | {"PYTHONPATH": root, "MALLOC_TRIM_THRESHOLD_": "65536"},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["shards"] > 2
    assert found["grown"] <= 1.1 * found["tasks"], found
    assert found["tasks"] <= 3 * found["grown"], found
    assert found["peak"] <= found["stated"], found
