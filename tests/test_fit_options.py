"""How a fit reads: cut anyhow, in any order, interrupted, within a budget, or only as much as is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError, SourceError
from tests import clusters, pictures
from tests.cuts import Cut, N, both_kinds, chunkings, fit


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    return both_kinds()


# --- the same bits -----------------------------------------------------------------------------------------------


def test_integer_arithmetic_of_python(images):
    x = images["uint8"]
    found = fit(Cut(x, chunkings(1)[0]), histogram=True)
    for k in range(3):
        values = [int(value) for value in x[..., k].ravel()]
        n, total, square = len(values), sum(values), sum(value * value for value in values)
        assert (found.moments.sums[k], found.moments.squares[k]) == (total, square)
        assert found.mean[k] == total / n
        assert found.moments.variance[k] == (n * square - total * total) / (n * n)
        counts = dict(zip(found.histogram.values.tolist(), found.histogram.counts[k].tolist(), strict=True))
        assert {value: count for value, count in counts.items() if count} == {v: values.count(v) for v in set(values)}


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("options", [{}, {"nan_policy": "omit"}, {"sample_weight": np.arange(N)}], ids=str)
def test_twenty_chunkings_in_order_and_shuffled(images, dtype, options):
    x = images[dtype]
    expected = fit(x, **options)
    for number, cuts in enumerate(chunkings(20)):
        found = [fit(Cut(x, cuts), **options)]
        # So narrow that everything is read after all, in random order.
        found.append(fit(Cut(x, cuts), tolerance=1e-9, seed=number, **options))
        for statistics in found:
            assert statistics == expected
            assert statistics.seen == expected.seen
            assert statistics.is_complete
            assert statistics.interval is None
            assert statistics.mean.tobytes() == expected.mean.tobytes()
            assert statistics.std.tobytes() == expected.std.tobytes()


@pytest.fixture
def cluster() -> Iterator[object]:
    from distributed import Client

    with clusters.two_workers() as local, Client(local) as client:
        yield client


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_worker_processes(images, dtype, tmp_path, request):
    x = images[dtype]
    options = {"sample_weight": np.arange(N), "nan_policy": "omit"}
    plain, weighted = fit(x, histogram=dtype == "uint8"), fit(x, **options)
    zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(13, 16, 16, 3))
    request.getfixturevalue("cluster")
    for source in (tmp_path / "x.zarr", da.from_array(x.copy(), chunks=(29, 16, 16, 3)), Cut(x, chunkings(1)[0])):
        for found, expected in ((fit(source, histogram=dtype == "uint8"), plain), (fit(source, **options), weighted)):
            assert found == expected
            assert found.seen == expected.seen
    part = fit(Cut(x, tuple(range(2, N, 2))), tolerance=0.3, seed=1)
    assert not part.is_complete


# --- what is counted ---------------------------------------------------------------------------------------------


def test_what_is_bad_is_named_or_left_out(images):
    x = images["float32"].copy()
    x[40, 1, 2, 0], x[90] = np.nan, np.inf
    with pytest.raises(SourceError, match="769 pixel values are NaN or infinite, the first of them in image 40"):
        fit(Cut(x, chunkings(1)[0]))
    found = fit(Cut(x, chunkings(1)[0]), nan_policy="omit")
    finite = np.where(np.isfinite(x), x.astype(float), np.nan)
    assert np.allclose(found.mean, np.nanmean(finite, axis=(0, 1, 2)), rtol=1e-12)
    assert found.moments.omitted == 769


def test_weights_with_augmenting_and_a_preprocessing_function(images):
    made = ImageDataGenerator(featurewise_center=True, rotation_range=30, preprocessing_function=np.sqrt)
    weights = np.arange(N) % 3
    made.fit(images["uint8"], augment=True, rounds=2, seed=4, sample_weight=weights)
    plain = ImageDataGenerator(rotation_range=30, preprocessing_function=np.sqrt)
    seen = np.concatenate([plain.augment(images["uint8"], seed=4, epoch=e).compute() for e in range(2)])
    expected = np.average(seen.astype(float), axis=0, weights=np.tile(weights, 2)).mean(axis=(0, 1))
    assert np.allclose(made.statistics.mean, expected, rtol=1e-12)
    # The hash is that of the data, each once, and not of what was made of them.
    assert made.statistics.seen[0].content == fit(images["uint8"]).seen[0].content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nan_policy": "drop"}, "`nan_policy`"),
        ({"tolerance": 0}, "`tolerance`"),
        ({"tolerance": 0.1, "checkpoint": "c"}, "Use one of them"),
        ({"sample_weight": np.ones(N - 1)}, "`sample_weight`"),
        ({"sample_weight": -np.ones(N)}, "`sample_weight`"),
        ({"sample_weight": np.zeros(N)}, "`sample_weight`"),
        ({"memory_budget": 1000}, "`memory_budget` is 1,000 bytes"),
    ],
    ids=str,
)
def test_bad_options(images, options, message):
    with pytest.raises(ConfigError, match=message):
        fit(images["uint8"], **options)


def test_what_cannot_be_combined(images):
    x = images["uint8"]
    for options in ({"nan_policy": "omit"}, {"sample_weight": np.ones(N)}, {"tolerance": 0.1}, {"checkpoint": "c"}):
        if "checkpoint" not in options:
            with pytest.raises(ConfigError, match=rf"`{next(iter(options))}.* or fit without `zca_whitening`"):
                ImageDataGenerator(featurewise_center=True, zca_whitening=True).fit(x, **options)
        with pytest.raises(ConfigError, match='compat="keras"'):
            ImageDataGenerator(featurewise_center=True, compat="keras").fit(x, augment=True, **options)
    with pytest.raises(SourceError, match="histogram"):
        fit(images["float32"], histogram=True)


# --- stopping early ----------------------------------------------------------------------------------------------


def test_stopping_early_says_how_near_it_is():
    """Of many fits on a part, the intervals of mean and std hold the value of all nearly as often as they say."""
    x = pictures.tiles(8, 6000)[:3000]
    order = np.argsort(x.mean(axis=(1, 2, 3)), kind="stable")  # the worst that can be: neighbours are alike
    source = Cut(x[order], tuple(range(10, 3000, 10)))
    whole = fit(source)
    held, reads = [], []
    for seed in range(40):
        part = fit(source, tolerance=0.15, seed=seed)
        assert not part.is_complete
        assert part.samples < 3000
        reads.append(part.samples)
        for value, interval in ((whole.mean, part.mean_interval), (whole.std, part.std_interval)):
            held.append((interval[:, 0] <= value) & (value <= interval[:, 1]))
            assert (np.diff(interval, axis=1) / 2 <= 0.15 * part.std[:, None] * 1.0001).all()
    assert np.mean(held) > 0.85
    assert fit(source, tolerance=0.15, seed=0) == fit(source, tolerance=0.15, seed=0)
    assert len(set(reads)) > 1
    narrower = fit(source, tolerance=0.05, seed=0)
    assert narrower.samples > reads[0]
    scaled = (
        ImageDataGenerator(featurewise_center=True, rescale=-1 / 255).fit(source, tolerance=0.15, seed=0).statistics
    )
    assert np.allclose(np.diff(scaled.mean_interval), np.diff(fit(source, tolerance=0.15, seed=0).mean_interval) / 255)
    assert "fitted on a part" in repr(narrower)


def test_the_monitor_sees_the_running_mean(images):
    seen = []
    source = Cut(images["uint8"], tuple(range(10, N, 10)))
    whole = fit(source, monitor=seen.append)
    assert [running.samples for running in seen][-1] == N
    assert np.allclose(seen[-1].mean, whole.mean, rtol=1e-12)
    assert np.allclose(seen[-1].std, whole.std, rtol=1e-12)
    assert all(running.interval is None for running in seen)
    seen.clear()
    fit(source, tolerance=1e-6, seed=1, monitor=seen.append)
    assert seen[-1].interval is not None


# --- plans and memory --------------------------------------------------------------------------------------------


def test_a_plan_reads_nothing_and_says_what_is_taken(images, tmp_path):
    class Unreadable(Cut):
        def read(self, start: int, stop: int) -> NDArray:
            raise AssertionError("read")

    x = images["uint8"]
    made = ImageDataGenerator(featurewise_center=True)
    plan = made.plan_fit(Unreadable(x, (50, 100)))
    assert (plan.blocks, plan.images, plan.nbytes) == (3, N, x.nbytes)
    assert "3 of up to" in str(plan)
    assert "budget 2,147 MB" in str(plan)
    assert made.plan_fit(Unreadable(x, (50,)), augment=True, rounds=3).images == 3 * N
    fit(x, checkpoint=tmp_path / "c")
    assert made.plan_fit(x, checkpoint=tmp_path / "c").covered == N


def test_blocks_keep_to_the_budget(tmp_path):
    """Of a store whose shards are larger than the budget, inner chunks are read."""
    x = pictures.tiles(32, 120)
    zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(4, 32, 32, 3), shards=(60, 32, 32, 3))
    done: list[int] = []
    made = ImageDataGenerator(featurewise_center=True)
    budget = 12 * x[:4].nbytes * len(os.sched_getaffinity(0))
    made.fit(tmp_path / "x.zarr", memory_budget=budget, progress=lambda rows, total: done.append(rows))
    assert max(np.diff([0, *done])) <= 24
    assert made.statistics == fit(x)
    assert made.plan_fit(tmp_path / "x.zarr", memory_budget=budget).memory.nbytes <= budget


MEASURED = """
from benchmarks.memory import curve
points = curve(10_000, 100_000_000)
print(points[1][1], points[-1][1])
"""


def test_memory_stays_flat_and_below_what_the_plan_says():
    """1.5 GB of images within a budget of 0.1 GB, measured by the operating system in a process of its own."""
    done = subprocess.run(
        # By way of a small shell: Linux counts in what the process that starts another one had at most.
        ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, MEASURED],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    early, late = map(float, done.stdout.splitlines()[-1].split())
    assert late - early < 20
    assert late < float(done.stdout.partition("peak about ")[2].split()[0])


def test_a_million_chunks_are_planned_at_once(tmp_path):
    """Chunks that nobody wrote: there is a plan, and a graph whose size depends on blocks and not on chunks."""
    import time

    zarr.create_array(tmp_path / "x.zarr", shape=(1_000_000, 16, 16, 3), chunks=(1, 16, 16, 3), dtype="u1")
    began = time.process_time()
    made = ImageDataGenerator(featurewise_center=True, rotation_range=10)
    plan = made.plan_fit(tmp_path / "x.zarr")
    lazy = made.fit(pictures.tiles(16, 50)).augment(tmp_path / "x.zarr", seed=1)
    assert plan.blocks < 50
    assert lazy.npartitions == plan.blocks
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_budget": "2GB"}, "`memory_budget` must be a number of bytes"),
        ({"memory_budget": True}, "`memory_budget` must be a number of bytes"),
        ({"checkpoint": 3}, "`checkpoint` must be the path of a file"),
        ({"checkpoint": ""}, "`checkpoint` must be the path of a file"),
        ({"checkpoint": "/"}, "is a folder"),
        ({"checkpoint": "/nowhere/at/all"}, "no folder that can be written to"),
        ({"sample_weight": "abc"}, "`sample_weight` must have one finite number"),
        ({"sample_weight": np.ones(4), "histogram": True}, "`histogram` counts every pixel once"),
        ({"zca_route": "samples"}, "Make it with zca_whitening=True"),
        ({"zca_components": 5}, "Make it with zca_whitening=True"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(options, message):
    generator = ImageDataGenerator(featurewise_center=True)
    with pytest.raises(ConfigError, match=message):
        generator.fit(np.zeros((4, 4, 4, 3), np.uint8), **options)


def test_updating_weighted_statistics_does_not_leave_out_pixels():
    images = np.random.RandomState(0).rand(8, 4, 4, 3).astype(np.float32)
    fitted = ImageDataGenerator(featurewise_center=True).fit(images, sample_weight=np.ones(8)).statistics
    images[0, 0, 0, 0] = np.nan
    with pytest.raises(SourceError, match="NaN or infinite"):
        fitted.update(images)
