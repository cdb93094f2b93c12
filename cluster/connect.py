"""Fit and materialise on a cluster that runs already.

DASK_SCHEDULER_ADDRESS=tls://HOST:8786 python connect.py SOURCE TARGET [epochs=3]
"""

from __future__ import annotations

import sys

from distributed import Client

from daskaug import ImageDataGenerator


def main(source: str, target: str, *options: str) -> None:
    """What your own script does: it is the same on every cluster."""
    numbers = {name: int(value) for name, value in (option.split("=") for option in options)}
    generator = ImageDataGenerator(featurewise_center=True, rotation_range=20, horizontal_flip=True)
    generator.fit(source)
    generator.save(f"{target}.npz")
    print(generator.materialize(source, target, seed=1, **numbers))


if __name__ == "__main__":
    # The address is in the environment; Client("tls://HOST:8786") says it here.
    with Client() as client:
        client.wait_for_workers(1)
        main(*sys.argv[1:])
