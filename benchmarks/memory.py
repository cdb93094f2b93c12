"""Memory of a fit over more images than the budget, and of a store of a million chunks.

    python -m benchmarks.memory [--gigabytes 20] [--budget 2]

The images are made while they are read, so nothing is on the disk. The peak of the process is sampled as the fit goes
on: it is flat, or a fit would keep what it has read.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peak import peak_nbytes
from daskaug import ImageDataGenerator
from daskaug.sources.base import Source

SIZE = 224


class Made(Source):
    """Crops of 224×224×3 uint8 of one photograph, made when they are read: as many as one likes."""

    locator = "images made while they are read"
    natural_rows = 32

    def __init__(self, n: int) -> None:
        from daskaug.demo import load_photographs

        self._photograph = next(p for p in load_photographs() if min(p.shape[:2]) >= 2 * SIZE)
        self.shape, self.dtype = (n, SIZE, SIZE, 3), np.dtype(np.uint8)

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        block = np.empty((stop - start, SIZE, SIZE, 3), np.uint8)
        height, width = (extent - SIZE for extent in self._photograph.shape[:2])
        for i in range(start, stop):
            y, x = i * 7 % height, i * 13 % width
            block[i - start] = self._photograph[y : y + SIZE, x : x + SIZE]
        return block


def curve(n: int, budget: int) -> list[tuple[float, float]]:
    """Gigabytes read and peak memory in MB, ten times while n images are fitted on."""
    points: list[tuple[float, float]] = []
    source = Made(n)

    def progress(done: int, total: int) -> None:
        if done >= total * (len(points) + 1) / 10:
            points.append((done * source.row_nbytes / 1e9, peak_nbytes() / 1e6))

    generator = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
    print(generator.plan_fit(source, memory_budget=budget))
    generator.fit(source, memory_budget=budget, progress=progress)
    return points


def million_chunks() -> None:
    """Time and memory of a plan and a lazy graph over a store of a million chunks, none of which was written."""
    import zarr

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.zarr"
        zarr.create_array(path, shape=(32_000_000, SIZE, SIZE, 3), chunks=(32, SIZE, SIZE, 3), dtype="u1")
        generator = ImageDataGenerator(rotation_range=20)
        began = time.perf_counter()
        plan = generator.plan_fit(path)
        planned = time.perf_counter() - began
        lazy = generator.augment(path, seed=1)
        graph = len(lazy.__dask_graph__())
        print(
            f"1,000,000 chunks of 32 images: plan of {plan.blocks:,} blocks in {planned:.2f} s, graph of {graph:,} "
            f"tasks in {time.perf_counter() - began - planned:.2f} s, peak memory {peak_nbytes() / 1e6:,.0f} MB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--budget", type=float, default=2, help="in GB")
    options = parser.parse_args()
    began = time.perf_counter()
    points = curve(int(options.gigabytes * 1e9 / (SIZE * SIZE * 3)), int(options.budget * 1e9))
    print("  ".join(f"{read:.1f} GB: {memory:,.0f} MB" for read, memory in points))
    print(f"{options.gigabytes:g} GB in {time.perf_counter() - began:.1f} s; peak {points[-1][1]:,.0f} MB")
    million_chunks()


if __name__ == "__main__":
    main()
