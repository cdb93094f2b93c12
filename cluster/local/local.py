"""Fit and materialise on worker processes of this machine.

python local.py SOURCE TARGET [epochs=3]
"""

from __future__ import annotations

import os
import sys

import dask
from distributed import Client, LocalCluster

from daskaug import ImageDataGenerator

CORES_PER_PROCESS = 8


def make_cluster() -> LocalCluster:
    """Few processes with several threads: the kernels and most decoders release the GIL."""
    dask.config.set({"distributed.worker.preload": ["daskaug.preload"]})
    cores = len(os.sched_getaffinity(0))
    processes = max(1, cores // CORES_PER_PROCESS)
    return LocalCluster(
        n_workers=processes,
        threads_per_worker=max(1, cores // processes),
        memory_limit="auto",  # an equal share of this machine's memory for each
        host="127.0.0.1",
        dashboard_address="127.0.0.1:8787",
    )


def main(source: str, target: str, *options: str) -> None:
    """What your own script does: it is the same on every cluster."""
    numbers = {name: int(value) for name, value in (option.split("=") for option in options)}
    generator = ImageDataGenerator(featurewise_center=True, rotation_range=20, horizontal_flip=True)
    generator.fit(source)
    generator.save(f"{target}.npz")
    print(generator.materialize(source, target, seed=1, **numbers))


if __name__ == "__main__":
    with make_cluster() as cluster, Client(cluster):
        main(*sys.argv[1:])
