"""Stream shuffled, augmented batches out of a compressed Zarr store, beside the ideal.

    python -m benchmarks.stream [--images 12288] [--epochs 3]

The ideal is what the cores could do if reading and transforming, each measured alone with a warm cache, were all that
had to be done: cores ÷ Σ core-seconds per image. Each measurement is a process of its own. Cores that share caches and
memory are slower together than alone; so the stages are also measured on every core at the same time, which tells what
the pipeline loses from what the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cores import on_cores
from benchmarks.peak import peak_nbytes

CODECS = ("blosc-lz4", "zstd")


def store_with(codec: str, images: int) -> Path:
    """The photographs, compressed by a codec."""
    import zarr
    from zarr.codecs import ZstdCodec

    from benchmarks.store import photographs_store

    folder = Path(tempfile.gettempdir()) / "daskaug-bench"
    folder.mkdir(parents=True, exist_ok=True)
    first = photographs_store(folder / f"photographs-{images}.zarr", images)
    if codec == "blosc-lz4":
        return Path(first)
    path = folder / f"photographs-{images}-zstd.zarr"
    if not path.exists():
        source = zarr.open_array(str(first), mode="r")
        target = zarr.create_array(
            path, shape=source.shape, chunks=source.chunks, dtype=source.dtype, compressors=ZstdCodec(level=3)
        )
        step = source.chunks[0]
        for start in range(0, source.shape[0], step):
            target[start : start + step] = source[start : start + step]
    return path


def generator(store: Path) -> Any:
    """The reference pipeline."""
    from benchmarks.contestants import OPTIONS
    from daskaug import ImageDataGenerator

    return ImageDataGenerator(**OPTIONS).fit(store)


def read_alone(store: Path, _: int) -> dict[str, Any]:
    """Core-seconds per image to read and decode, on one core."""
    import zarr

    array = zarr.open_array(str(store), mode="r")
    seconds = []
    for _ in range(3):
        began = time.process_time()
        for start in range(0, array.shape[0], array.chunks[0]):
            array[start : start + array.chunks[0]]
        seconds.append((time.process_time() - began) / array.shape[0])
    return {"seconds": min(seconds)}


def transform_alone(store: Path, _: int) -> dict[str, Any]:
    """Core-seconds per image of the kernel, in batches of 32."""
    import zarr

    made = generator(store)
    transform = made.block_transform(seed=1)
    block = zarr.open_array(str(store), mode="r")[:512]
    seconds = []
    for _ in range(5):
        began = time.process_time()
        for start in range(0, len(block), 32):
            transform(block[start : start + 32], np.arange(start, start + 32), 0)
        seconds.append((time.process_time() - began) / len(block))
    return {"seconds": min(seconds)}


def stream(store: Path, epochs: int) -> dict[str, Any]:
    """Images a second through ``flow``, for some epochs, and what it took."""
    made = generator(store)
    before = peak_nbytes()
    began = time.perf_counter()
    batches = made.flow(store, batch_size=32, seed=1)
    next(batches)
    first = time.perf_counter() - began
    plan = str(batches.plan())
    rates, peaks = [], []
    for epoch in batches.epochs(epochs):
        began, count = time.perf_counter(), 0
        for batch in epoch:
            count += len(batch)
        rates.append(count / (time.perf_counter() - began))
        peaks.append(peak_nbytes() // 2**20)
    return {"rates": rates, "first": first, "peaks": peaks, "before": before // 2**20, "plan": plan}


KINDS = {"read": read_alone, "transform": transform_alone, "stream": stream}


def measured(kind: str, store: Path, epochs: int, *, cores: int) -> dict[str, Any]:
    """Of a process of its own, on so many cores."""
    command = [sys.executable, "-m", "benchmarks.stream", "--measure", kind, str(store), str(epochs)]
    used = sorted(os.sched_getaffinity(0))[:cores]
    with on_cores(used):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def at_the_same_time(kind: str, store: Path, cores: list[int]) -> float:
    """Core-seconds per image of a stage that runs on each of the cores, in processes of their own."""
    command = [sys.executable, "-m", "benchmarks.stream", "--measure", kind, str(store), "0"]
    running = []
    for core in cores:
        with on_cores([core]):
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    answers = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
    return float(np.mean([answer["seconds"] for answer in answers]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12288, help="more than the cache holds")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--measure", nargs=3, metavar=("KIND", "STORE", "EPOCHS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        kind, store, epochs = options.measure
        print(json.dumps(KINDS[kind](Path(store), int(epochs))))
        return
    used = sorted(os.sched_getaffinity(0))
    cores = len(used)
    for codec in CODECS:
        store = store_with(codec, options.images)
        shares, shares_together = [], []
        for _ in range(options.repeat):
            read, transform = (measured(kind, store, 0, cores=1)["seconds"] for kind in ("read", "transform"))
            found = measured("stream", store, options.epochs, cores=cores)
            ideal, rate = cores / (read + transform), float(np.median(found["rates"]))
            together = cores / sum(at_the_same_time(kind, store, used) for kind in ("read", "transform"))
            shares.append(rate / ideal)
            shares_together.append(rate / together)
            print(
                f"{codec}: read {read * 1e3:.3f} ms, transform {transform * 1e3:.3f} ms, ideal {ideal:,.0f} images/s, "
                f"streamed {rate:,.0f} ({rate / ideal:.2f}, and {rate / together:.2f} of {together:,.0f} with all "
                f"cores at it); first batch {found['first']:.2f} s; peak "
                f"{found['before']:,} MB before, then {', '.join(f'{peak:,}' for peak in found['peaks'])} MB"
            )
        print(found["plan"])
        print(
            f"{codec}: {np.median(shares):.2f} of the ideal, {np.median(shares_together):.2f} with all cores at it, "
            f"medians of {len(shares)}"
        )


if __name__ == "__main__":
    main()
