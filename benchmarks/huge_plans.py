"""What is planned for 10⁸ images, 10 TB, of which not one was written: ``python -m benchmarks.huge_plans``.

The store is hollow: its metadata say what it holds. Each plan is made by a process of its own, whose processor seconds
and peak of memory are told with it. Core-seconds for an image are those of docs/performance.md, by its pixels.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peak import peak_nbytes

SIZE, CHUNK, SHARD = 184, 32, 640

MEASURED_PIXELS = 224 * 224
CORE_SECONDS = {"fit": 0.77 / 4096, "stream": 0.84e-3, "materialize": (0.17 + 0.64 + 0.82) * 1e-3 / 0.78}
"""Of an image of MEASURED_PIXELS: read and summed; read and augmented; read, augmented and written (zstd)."""

CORES = (100, 1000)

PLANS = ("fit", "whitening", "stream", "materialize", "materialize, shards of 512 MiB", "augment")


def made(name: str, images: int) -> dict[str, Any]:
    """One plan, in this process."""
    import zarr

    from daskaug import ImageDataGenerator

    standardizing = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
    augmenting = ImageDataGenerator(rotation_range=20, zoom_range=0.2, horizontal_flip=True)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "x.zarr", Path(folder) / "y.zarr"
        image = (SIZE, SIZE, 3)
        zarr.create_array(source, shape=(images, *image), chunks=(CHUNK, *image), shards=(SHARD, *image), dtype="u1")
        plans: dict[str, Callable[[], Any]] = {
            "fit": lambda: standardizing.plan_fit(source),
            "whitening": lambda: ImageDataGenerator(zca_whitening=True).plan_zca(source),
            "stream": lambda: augmenting.flow(source, batch_size=256, seed=1).plan(),
            "materialize": lambda: augmenting.plan_materialize(source, target, seed=1),
            "materialize, shards of 512 MiB": lambda: augmenting.plan_materialize(
                source, target, seed=1, shard_rows=8 * SHARD, chunk_rows=10
            ),
            "augment": lambda: augmenting.augment(source, seed=1),
        }
        began = time.perf_counter()
        plan = plans[name]()
        facts = {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time(),
            "peak": peak_nbytes(),
        }
        if name == "augment":
            return facts | {"tasks": len(plan.__dask_graph__()), "text": f"{plan.npartitions:,} blocks"}
        counts = {each: getattr(plan, each) for each in ("blocks", "batches", "shards") if hasattr(plan, each)}
        return facts | counts | {"text": str(plan)}


def alone(name: str, images: int) -> dict[str, Any]:
    """One plan, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.huge_plans", "--only", name, "--images", str(images)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def table(found: dict[str, dict[str, Any]]) -> str:
    lines = ["| plan | comes to | processor seconds | peak memory |", "| --- | --- | ---: | ---: |"]
    for name, facts in found.items():
        counts = ", ".join(
            f"{facts[each]:,} {each}" for each in ("blocks", "batches", "shards", "tasks") if each in facts
        )
        lines.append(f"| {name} | {counts} | {facts['cpu']:.1f} | {facts['peak'] / 1e6:,.0f} MB |")
    return "\n".join(lines)


def hours(images: int) -> str:
    """Time for so many images on so many cores, were all of them busy, and the bytes that are read for it."""
    share = SIZE**2 / MEASURED_PIXELS
    lines = [
        "| | core-ms an image | core-hours | " + " | ".join(f"{cores:,} cores" for cores in CORES)
        + f" | decoded GB/s with {CORES[-1]:,} |",
        "| --- |" + " ---: |" * (len(CORES) + 3),
    ]  # fmt: skip
    for name, seconds in CORE_SECONDS.items():
        each = seconds * share
        cells = " | ".join(f"{images * each / cores / 60:,.0f} min" for cores in CORES)
        rate = CORES[-1] / each * SIZE**2 * 3 / 1e9
        lines.append(f"| {name} | {1e3 * each:.2f} | {images * each / 3600:,.1f} | {cells} | {rate:,.0f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> dict[str, dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10**8)
    parser.add_argument("--only", choices=PLANS, help="this plan, in this process, as JSON")
    options = parser.parse_args(arguments)
    if options.only is not None:
        facts = made(options.only, options.images)
        print(json.dumps(facts))
        return {options.only: facts}
    found = {name: alone(name, options.images) for name in PLANS}
    for name, facts in found.items():
        print(f"--- {name}\n{facts['text']}\n")
    print(table(found), hours(options.images), sep="\n\n")
    return found


if __name__ == "__main__":
    main()
