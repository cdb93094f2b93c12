"""The reproducibility contract: what a sample's pixels may depend on, and what not."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daskaug import ImageDataGenerator
from tests import clusters, pictures

N, SEED, EPOCH = 61, 77, 1

OPTIONS = {
    "featurewise_std_normalization": True,
    "rotation_range": 25,
    "width_shift_range": 0.2,
    "height_shift_range": [-3, 1, 2],
    "shear_range": 10.0,
    "zoom_range": 0.3,
    "horizontal_flip": True,
    "channel_shift_range": 20.0,
    "brightness_range": (0.7, 1.3),
    "fill_mode": "reflect",
}


def generator(**changes) -> ImageDataGenerator:
    made = ImageDataGenerator(**{"featurewise_center": True} | OPTIONS | changes)
    made.mean, made.std = np.full((1, 1, 3), 110.0), np.array([[[50.0, 60.0, 70.0]]])
    return made


def images() -> np.ndarray:
    return pictures.tiles(16, N)


@functools.cache
def expected() -> dict[int, bytes]:
    """Pixels per sample id of epoch 1: each image alone, straight through the generator."""
    batches = generator().flow(images(), np.arange(N), batch_size=1, shuffle=False, seed=SEED)
    return by_sample(batches)


def by_sample(batches) -> dict[int, bytes]:
    """Run through epochs 0 and 1 and keep the pixels of the latter; labels are the sample ids."""
    found: dict[int, bytes] = {}
    for number, epoch in enumerate(batches.epochs(2)):
        for x, y in epoch:
            if number == EPOCH:
                found |= {int(label): image.tobytes() for image, label in zip(x, y, strict=True)}
    return found


@contextlib.contextmanager
def source(kind: str, chunk: int, inner: tuple[int, int, int]) -> Iterator[object]:
    """The images as the given kind of source, cut as given."""
    x = images()
    chunks = (chunk, *inner)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.zarr"
        if kind == "numpy":
            yield x
        elif kind == "fortran":
            yield np.asfortranarray(x)
        elif kind == "dask":
            yield da.from_array(x.copy(), chunks=chunks) + np.uint8(0)
        elif kind == "zarr2":
            zarr.create_array(path, data=x, chunks=chunks, zarr_format=2)
            yield path
        elif kind == "zarr3":
            zarr.create_array(path, data=x, chunks=chunks)
            yield Path(path)
        elif kind == "sharded":
            zarr.create_array(path, data=x, chunks=chunks, shards=(3 * chunk, *(2 * size for size in inner)))
            yield zarr.open_array(path, mode="r")
        elif kind == "dask of zarr":
            zarr.create_array(path, data=x, chunks=chunks)
            yield da.from_zarr(path)


KINDS = ["numpy", "fortran", "dask", "zarr2", "zarr3", "sharded", "dask of zarr"]
cuts = st.tuples(st.sampled_from([4, 8, 16]), st.sampled_from([8, 16]), st.sampled_from([1, 3]))


@settings(max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    chunk=st.integers(1, N + 5),
    inner=cuts,
    batch_size=st.integers(1, N + 3),
    shuffle=st.sampled_from([False, True, "global", "block"]),
    unit=st.integers(1, 40),
)
def test_pixels_do_not_depend_on_source_chunks_batches_or_order(kind, chunk, inner, batch_size, shuffle, unit):
    with source(kind, min(chunk, N), inner) as x:
        batches = generator().flow(
            x, np.arange(N), batch_size=batch_size, shuffle=shuffle, seed=SEED, shuffle_unit=unit, shuffle_mix=2
        )
        assert by_sample(batches) == expected()


@settings(max_examples=15)
@given(kind=st.sampled_from(KINDS), chunk=st.integers(1, N), inner=cuts)
def test_the_three_sinks_see_the_same_pixels(kind, chunk, inner):
    with source(kind, chunk, inner) as x:
        lazy = generator().augment(x, seed=SEED, epoch=EPOCH)
        assert lazy.shape == images().shape
        assert lazy.dtype == np.float32
        found = {i: image.tobytes() for i, image in enumerate(lazy.compute(scheduler="threads"))}
        assert found == expected()


@pytest.mark.parametrize("reader", ["next", "index", "index backwards"])
def test_indexing_gives_the_batches_of_iteration(reader):
    batches = generator().flow(images(), np.arange(N), batch_size=10, seed=SEED)
    other = generator().flow(images(), np.arange(N), batch_size=10, seed=SEED)
    listed = list(batches.one_epoch())
    order = range(len(other)) if reader != "index backwards" else reversed(range(len(other)))
    for i in order:
        x, y = next(other) if reader == "next" else other[i]
        assert np.array_equal(x, listed[i][0])
        assert np.array_equal(y, listed[i][1])


def test_appended_data_change_nothing():
    longer = np.concatenate([images(), images()[::-1]])
    batches = generator().flow(longer, np.arange(2 * N), batch_size=9, shuffle=True, seed=SEED)
    found = by_sample(batches)
    assert {i: found[i] for i in range(N)} == expected()


def test_a_subset_keeps_its_sample_ids():
    made = generator(validation_split=0.25)
    batches = made.flow(images(), np.arange(N), seed=SEED, subset="training", ignore_class_split=True)
    assert by_sample(batches) == {i: pixels for i, pixels in expected().items() if i >= int(0.25 * N)}


def test_ids_carry_through_slicing():
    ids = np.arange(N)
    batches = generator().flow(images()[20:40], ids[20:40], ids=ids[20:40], batch_size=7, seed=SEED)
    assert by_sample(batches) == {i: expected()[i] for i in range(20, 40)}


def test_another_operation_switched_on_leaves_the_others_as_they_are():
    """Half of the images are not flipped; those must be the very same as without flips."""
    without = by_sample(generator().flow(images(), np.arange(N), shuffle=False, seed=SEED))
    flipping = by_sample(generator(vertical_flip=True).flow(images(), np.arange(N), shuffle=False, seed=SEED))
    same = sum(without[i] == flipping[i] for i in range(N))
    mirrored = 0
    for i in range(N):
        a, b = (np.frombuffer(found[i], np.float32).reshape(16, 16, 3) for found in (without, flipping))
        mirrored += np.array_equal(a[::-1], b) and not np.array_equal(a, b)
    assert same + mirrored == N
    assert min(same, mirrored) > N // 4


def test_seeds_and_epochs_matter():
    def digest(seed, epoch):
        lazy = generator().augment(images(), seed=seed, epoch=epoch)
        return hashlib.sha256(lazy.compute(scheduler="synchronous")).hexdigest()

    assert len({digest(seed, epoch) for seed in (0, 1, 2) for epoch in (0, 1, 2)}) == 9


# --- processes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    from distributed import Client

    with clusters.two_workers() as local, Client(local) as client:
        yield client


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("chunk", "batch_size", "shuffle"), [(7, 13, True), (20, 32, False)])
def test_worker_processes_give_the_same_pixels(cluster, kind, chunk, batch_size, shuffle):
    with source(kind, chunk, (8, 16, 3)) as x:
        batches = generator().flow(x, np.arange(N), batch_size=batch_size, shuffle=shuffle, seed=SEED)
        assert by_sample(batches) == expected()
        lazy = generator().augment(x, seed=SEED, epoch=EPOCH)
        assert {i: image.tobytes() for i, image in enumerate(lazy.compute())} == expected()


@pytest.mark.parametrize("kind", KINDS)
def test_worker_processes_fit_the_same_bits(cluster, kind):
    alone = ImageDataGenerator(featurewise_center=True, zca_whitening=True).fit(images())
    with source(kind, 7, (8, 16, 3)) as x:
        spread = ImageDataGenerator(featurewise_center=True, zca_whitening=True).fit(x)
    assert spread.mean.tobytes() == alone.mean.tobytes()
    assert spread.statistics.moments == alone.statistics.moments


# --- other processors --------------------------------------------------------------------------------------------

PROBE = """
import hashlib, numpy as np
from tests.laws import test_invariance as laws
batches = laws.generator().flow(laws.images(), np.arange(laws.N), batch_size=8, shuffle=True, seed=laws.SEED)
found = laws.by_sample(batches)
print(hashlib.sha256(b"".join(found[i] for i in range(laws.N))).hexdigest())
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "environment",
    [
        {"NUMBA_CPU_NAME": "generic"},
        {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-AVX2,-FMA4,-AVX2_Usable,-FMA_Usable"},
        {"NUMBA_CPU_NAME": "generic", "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX"},
    ],
    ids=lambda environment: "+".join(environment),
)
def test_other_processors_give_the_same_bits(environment):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE],
        env=os.environ | environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    native = hashlib.sha256(b"".join(expected()[i] for i in range(N))).hexdigest()
    assert done.stdout.split()[-1] == native
