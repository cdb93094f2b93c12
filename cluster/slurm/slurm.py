"""Fit and materialise on jobs of Slurm; the scheduler runs in this process.

python slurm.py JOBS SOURCE TARGET [epochs=3]
"""

from __future__ import annotations

import sys

from dask_jobqueue import SLURMCluster
from distributed import Client

from daskaug import ImageDataGenerator


def make_cluster(jobs: str) -> SLURMCluster:
    """As ``jobqueue.slurm`` in dask's configuration says (jobqueue.yaml)."""
    cluster = SLURMCluster()
    # Not scale(): that would not replace a job that was cancelled or has reached the end of its time.
    cluster.adapt(minimum_jobs=int(jobs), maximum_jobs=int(jobs))
    return cluster


def main(source: str, target: str, *options: str) -> None:
    """What your own script does: it is the same on every cluster."""
    numbers = {name: int(value) for name, value in (option.split("=") for option in options)}
    generator = ImageDataGenerator(featurewise_center=True, rotation_range=20, horizontal_flip=True)
    generator.fit(source)
    generator.save(f"{target}.npz")
    print(generator.materialize(source, target, seed=1, **numbers))


if __name__ == "__main__":
    with make_cluster(sys.argv[1]) as cluster, Client(cluster) as client:
        client.wait_for_workers(1)
        main(*sys.argv[2:])
