"""Fit mean and std over a Zarr store, beside a bare threaded read of the same store and what people do today.

    python -m benchmarks.fit_moments [--images 4096] [--repeat 5]

Each measurement is a process of its own: core-seconds, wall seconds and peak memory are the operating system's.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.peak import peak_nbytes


def bare_read(store: str) -> object:
    """Read every chunk once, on as many threads as there are processors."""
    import zarr

    array = zarr.open_array(store, mode="r")
    starts = range(0, array.shape[0], array.chunks[0])
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return sum(pool.map(lambda start: array[start : start + array.chunks[0]].shape[0], starts))


def ours(store: str, **options: object) -> object:
    from daskaug import ImageDataGenerator

    generator = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True).fit(store, **options)
    return generator.mean.ravel().tolist(), generator.std.ravel().tolist()


def naive_dask(store: str) -> object:
    import dask
    import dask.array as da

    x = da.from_zarr(store).astype("float64")
    mean, std = dask.compute(x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2)))
    return mean.tolist(), std.tolist()


def keras(store: str) -> object:
    import zarr
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
    generator.fit(zarr.open_array(store)[:])
    return generator.mean.ravel().tolist(), generator.std.ravel().tolist()


CONTESTANTS: dict[str, Callable[[str], object]] = {
    "bare read": bare_read,
    "daskaug": ours,
    "… histogram": functools.partial(ours, histogram=True),
    "… omitting": functools.partial(ours, nan_policy="omit"),
    "naive dask": naive_dask,
    "Keras": keras,
}


def forget(store: Path) -> None:
    """Ask the system to drop its cache of the store's files."""
    for path in store.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(name: str, store: str) -> None:
    """In a process of its own: run one contestant to warm up, from the disk, and from the system's cache."""
    function = CONTESTANTS[name]
    cold = None
    if name != "Keras":  # it has nothing to warm up, and takes long
        function(store)
        forget(Path(store))
        began = time.perf_counter()
        function(store)
        cold = time.perf_counter() - began
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    result = function(store)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": seconds, "cores": cores, "cold": cold, "peak": peak_nbytes(), "result": result}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--with-keras", action="store_true", help="Keras too: about a minute and 6 GB")
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "daskaug-bench")
    parser.add_argument("--measure", nargs=2, metavar=("CONTESTANT", "STORE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    from benchmarks.store import photographs_store

    options.store.mkdir(parents=True, exist_ok=True)
    store = photographs_store(options.store / f"photographs-{options.images}.zarr", options.images)
    rows: dict[str, list[dict]] = {}
    for repetition in range(options.repeat):
        for name in CONTESTANTS:
            if name == "Keras" and (repetition or not options.with_keras):
                continue
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.fit_moments", "--measure", name, str(store)],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"KERAS_BACKEND": "jax"},
            )
            rows.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
    report(rows, options.images)


def report(rows: dict[str, list[dict]], images: int) -> None:
    print(f"{images} images of 224×224×3 uint8, medians of {len(rows['daskaug'])} interleaved runs, warm cache")
    print(f"{'':12}{'core-s':>9}{'ratio':>8}{'wall s':>9}{'cold s':>9}{'peak MB':>9}   mean")
    for name, runs in rows.items():
        # Paired with the bare read of the same round: the machine's speed drifts.
        ratio = statistics.median(
            run["cores"] / read["cores"] for run, read in zip(runs, rows["bare read"], strict=False)
        )
        cores, wall, peak = (statistics.median(run[key] for run in runs) for key in ("cores", "seconds", "peak"))
        cold = statistics.median(run["cold"] or np.nan for run in runs)
        mean = np.round(runs[0]["result"][0], 4) if name != "bare read" else ""
        print(f"{name:12}{cores:9.2f}{ratio:8.2f}{wall:9.2f}{cold:9.2f}{peak / 1e6:9.0f}   {mean}")


if __name__ == "__main__":
    main()
