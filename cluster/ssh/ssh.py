"""Fit and materialise on hosts that SSH reaches; the first one runs the scheduler.

python ssh.py HOST,HOST,... SOURCE TARGET [epochs=3]
"""

from __future__ import annotations

import sys
from typing import Any

import dask
from distributed import Client, SSHCluster

from daskaug import ImageDataGenerator


def make_cluster(hosts: str) -> Any:
    """As ``daskaug.ssh`` in dask's configuration says (ssh.yaml); the workers take over all of that configuration."""
    return SSHCluster(hosts.split(","), **dask.config.get("daskaug.ssh"))


def main(source: str, target: str, *options: str) -> None:
    """What your own script does: it is the same on every cluster."""
    numbers = {name: int(value) for name, value in (option.split("=") for option in options)}
    generator = ImageDataGenerator(featurewise_center=True, rotation_range=20, horizontal_flip=True)
    generator.fit(source)
    generator.save(f"{target}.npz")
    print(generator.materialize(source, target, seed=1, **numbers))


if __name__ == "__main__":
    with make_cluster(sys.argv[1]) as cluster, Client(cluster):
        main(*sys.argv[2:])
