"""What it costs that a worker is killed while an epoch streams.

    python -m benchmarks.lost_worker [--images 8192] [--repeat 3]

Photographs of 96×96×3 in a Zarr store, shuffled and augmented by two worker processes of one thread each, and fetched
with ``next()``. Every other run kills one worker half-way, with SIGKILL, and its nanny starts another. All runs stream
the same epoch, each on a cluster of its own, so that they must have the same hash.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import logging
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZE, CHUNK, BATCH = 96, 32, 32

# What is said of the loss is no news here.
CLUSTER = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}


def store_of(images: int) -> Path:
    """The photographs, unless they are there."""
    import zarr

    from benchmarks.images import photograph_crops

    folder = Path(tempfile.gettempdir()) / "daskaug-bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"photographs-{SIZE}-{images}.zarr"
    if not path.exists():
        zarr.create_array(path, data=photograph_crops(images, SIZE), chunks=(CHUNK, SIZE, SIZE, 3))
    return path


def stream(store: Path, *, kill: bool) -> dict[str, Any]:
    """Run an epoch on a cluster of its own, which has run another one before."""
    from distributed import Client, LocalCluster

    from benchmarks.contestants import OPTIONS
    from daskaug import ImageDataGenerator

    made = ImageDataGenerator(**OPTIONS).fit(store)
    with LocalCluster(**CLUSTER) as cluster, Client(cluster) as client:
        victim = min(client.run(os.getpid).values())
        batches = made.flow(store, batch_size=BATCH, seed=1)
        for _ in batches.one_epoch():  # kernels and connections are warm
            pass
        steps, total, waits = len(batches), hashlib.sha256(), []
        began = before = time.perf_counter()
        epoch = batches.one_epoch()
        for number in itertools.count():
            if kill and number == steps // 2:
                os.kill(victim, signal.SIGKILL)
            batch = next(epoch, None)
            if batch is None:
                break
            waits.append(time.perf_counter() - before)
            total.update(batch)
            before = time.perf_counter()
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "longest": max(waits), "hash": total.hexdigest()}


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)
    store = store_of(options.images)
    runs = []
    for number in range(options.repeat):
        undisturbed, killed = stream(store, kill=False), stream(store, kill=True)
        runs.append({"undisturbed": undisturbed, "killed": killed})
        same = "the same" if undisturbed["hash"] == killed["hash"] else "NOT THE SAME"
        print(
            f"run {number + 1}: undisturbed {undisturbed['seconds']:.2f} s, longest wait for a batch "
            f"{undisturbed['longest'] * 1e3:,.0f} ms; one of two workers killed {killed['seconds']:.2f} s, "
            f"{killed['longest'] * 1e3:,.0f} ms; hash {same}",
            flush=True,
        )

    def median(which: str, what: str) -> float:
        return float(np.median([run[which][what] for run in runs]))

    delay = np.median([run["killed"]["seconds"] - run["undisturbed"]["seconds"] for run in runs])
    print(
        f"medians of {len(runs)} for {options.images:,} images: undisturbed {median('undisturbed', 'seconds'):.2f} s, "
        f"killed {median('killed', 'seconds'):.2f} s, delay {delay:.2f} s; longest wait "
        f"{median('undisturbed', 'longest') * 1e3:,.0f} and {median('killed', 'longest') * 1e3:,.0f} ms; "
        f"{len({run[which]['hash'] for run in runs for which in run})} hash(es)"
    )
    return runs


if __name__ == "__main__":
    main()
