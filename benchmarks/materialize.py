"""Materialise augmented photographs, beside the ideal and beside dask with Keras; and plans beside what then happened.

    python -m benchmarks.materialize [--images 4096] [--copies 2] [--repeat 3]
    python -m benchmarks.materialize --plans [1024x96 4096x224 20000x64]

The ideal is what the cores could do if reading, transforming and writing finished shards through Zarr, each measured
alone on one core with a warm cache, were all that had to be done: cores ÷ Σ core-seconds per image. Each measurement is
a process of its own; ratios are taken within a round, and medians over the rounds.

Where the share comes from: of the core-seconds that the run took, the stages alone would have taken so many ("useful"),
and of the cores' time it had so much ("busy"); the share is their product. On a machine that does other things as well,
"busy" is what suffers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cores import on_cores
from benchmarks.peak import peak_nbytes

SIZE = 224
CODECS = ("zstd", "lz4")
REPEATS = 3
Arguments = dict[str, Any]


def photographs(folder: Path, images: int, size: int) -> Path:
    """A store of photographs of this size, in chunks of 32 where they are large, and of about 1 MiB otherwise."""
    import zarr

    from benchmarks.images import photograph_crops
    from benchmarks.store import photographs_store

    folder.mkdir(parents=True, exist_ok=True)
    if size == SIZE:
        return Path(photographs_store(folder / f"photographs-{images}.zarr", images))
    path = folder / f"crops-{size}-{images}.zarr"
    if not path.exists():
        codec = zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")
        chunk = max(1, min(images, 2**20 // (size * size * 3)))
        crops = photograph_crops(images, size)
        zarr.create_array(path, data=crops, chunks=(chunk, size, size, 3), compressors=codec)
    return path


def generator() -> Any:
    """The reference pipeline."""
    from benchmarks.contestants import OPTIONS, fitted
    from daskaug import ImageDataGenerator

    return fitted(ImageDataGenerator(**OPTIONS))


def stored_transform(dtype: str) -> Any:
    """What `materialize` does to images by default: everything before standardising, in the source's dtype."""
    made = generator()
    config = made.config.replace(dtype=dtype, **made.config.without_standardizing())
    return made.block_transform(seed=1, standardize=False, config=config)


# --- in a process of its own -------------------------------------------------------------------------------------


def read_alone(given: Arguments) -> dict[str, Any]:
    """Core-seconds per image to read and decode, chunk by chunk."""
    import zarr

    array = zarr.open_array(given["store"], mode="r")

    def run() -> int:
        for start in range(0, array.shape[0], array.chunks[0]):
            array[start : start + array.chunks[0]]
        return array.shape[0]

    return {"seconds": per_image(run)}


def transform_alone(given: Arguments) -> dict[str, Any]:
    """Core-seconds per image of the kernel, in batches of 32."""
    import zarr

    block = zarr.open_array(given["store"], mode="r")[:512]
    transform = stored_transform(block.dtype.name)

    def run() -> int:
        for start in range(0, len(block), 32):
            batch = block[start : start + 32]
            transform(batch, np.arange(start, start + len(batch)), 0)
        return len(block)

    return {"seconds": per_image(run)}


def write_alone(given: Arguments) -> dict[str, Any]:
    """Core-seconds per image to encode finished shards and to write them, through Zarr."""
    import zarr

    from daskaug.materialize.codecs import image_codecs
    from daskaug.materialize.layout import Layout

    source = zarr.open_array(given["store"], mode="r")
    n, *shape = source.shape
    layout = Layout.of(n, given["copies"], tuple(shape), source.dtype)
    rows = min(2 * layout.shard_rows, n)
    transform = stored_transform(source.dtype.name)
    made = transform(source[:rows], np.arange(rows), 0)
    target = zarr.create_array(
        Path(given["folder"]) / "written.zarr",
        shape=made.shape,
        dtype=made.dtype,
        chunks=(layout.chunk_rows, *shape),
        shards=(layout.shard_rows, *shape),
        compressors=image_codecs(given["codec"], made.dtype.name),
        config={"write_empty_chunks": True},
    )

    def run() -> int:
        for start in range(0, rows, layout.shard_rows):
            target[start : start + layout.shard_rows] = made[start : start + layout.shard_rows]
        return rows

    return {"seconds": per_image(run)}


def per_image(run: Callable[[], int]) -> float:
    """Median of the core-seconds per image of a few runs, after one that warms up."""
    run()
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        images = run()
        seconds.append((time.process_time() - began) / images)
    return statistics.median(seconds)


def materialize(given: Arguments) -> dict[str, Any]:
    """The plan, and the run that follows it."""
    import zarr

    made, folder = generator(), Path(given["folder"])
    made.materialize(zarr.open_array(given["store"], mode="r")[:64], folder / "warm.zarr")
    options = {"epochs": given["copies"], "seed": 1, "codec": given["codec"]}
    began = time.perf_counter()
    planned = made.plan_materialize(given["store"], folder / "made.zarr", **options)
    calibrating = time.perf_counter() - began
    wall, cores = time.perf_counter(), time.process_time()
    report = made.materialize(given["store"], folder / "made.zarr", **options)
    wall, cores = time.perf_counter() - wall, time.process_time() - cores
    expected, off = planned.seconds
    return {
        "images": report.rows,
        "seconds": wall,
        "cores": cores,
        "peak": peak_nbytes(),
        "disk": sum(path.stat().st_size for path in (folder / "made.zarr").rglob("*") if path.is_file()),
        "plan": {
            "seconds": expected,
            "off": off,
            "peak": planned.memory.peak_nbytes,
            "disk": planned.encoded_nbytes,
            "calibrating": calibrating,
        },
    }


def by_keras(block: np.ndarray) -> np.ndarray:
    """Augment images one by one. block : (b, h, w, c) uint8."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from benchmarks.contestants import AUGMENTING

    keras = ImageDataGenerator(**AUGMENTING)
    return np.stack([np.clip(keras.random_transform(image), 0, 255).astype(np.uint8) for image in block])


def naive(given: Arguments) -> dict[str, Any]:
    """What one writes by oneself: a dask array of the store, Keras for each image, and ``to_zarr``."""
    import dask
    import dask.array as da

    def run(images: int, path: Path) -> None:
        x = da.from_zarr(given["store"])[:images]
        copies = da.concatenate([x] * given["copies"])
        augmented = copies.map_blocks(by_keras, dtype=x.dtype, meta=np.empty((0, 0, 0, 0), x.dtype))
        augmented.to_zarr(str(path))

    cores = len(os.sched_getaffinity(0))
    settings: dict[str, Any] = {"scheduler": "threads", "num_workers": cores}
    if given["scheduler"] == "processes":
        settings = {"scheduler": "processes", "pool": ProcessPoolExecutor(cores), "num_workers": cores}
    with dask.config.set(settings):
        run(32 * cores, Path(given["folder"]) / "warm.zarr")
        began = time.perf_counter()
        run(given["images"], Path(given["folder"]) / "made.zarr")
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "images": given["images"] * given["copies"]}


KINDS = {
    "read": read_alone,
    "transform": transform_alone,
    "write": write_alone,
    "materialize": materialize,
    "naive": naive,
}

# --- in the process that asks ------------------------------------------------------------------------------------


def measured(kind: str, *, cores: int, **given: Any) -> dict[str, Any]:
    """Of a process of its own, on so many cores, with a folder of its own to write to."""
    used = sorted(os.sched_getaffinity(0))[:cores]
    folder = tempfile.mkdtemp(prefix="daskaug-bench-")
    try:
        command = [sys.executable, "-m", "benchmarks.materialize", "--measure", kind]
        with on_cores(used):
            done = subprocess.run(
                [*command, json.dumps(given | {"folder": folder})],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env=os.environ | {"KERAS_BACKEND": "jax"},
            )
    finally:
        shutil.rmtree(folder)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def rounds(store: Path, options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each codec in turn: the stages alone, and the whole."""
    cores = len(os.sched_getaffinity(0))
    for number in range(options.repeat):
        for codec in options.codecs:
            given = {"store": str(store), "copies": options.copies, "codec": codec}
            stages = {kind: measured(kind, cores=1, **given)["seconds"] for kind in ("read", "transform", "write")}
            found = measured("materialize", cores=cores, **given)
            ideal = cores / sum(stages.values())
            rate = found["images"] / found["seconds"]
            row = {
                "stages": stages,
                "run": found,
                "ideal": ideal,
                "rate": rate,
                "share": rate / ideal,
                "useful": sum(stages.values()) * found["images"] / found["cores"],
                "busy": found["cores"] / found["seconds"] / cores,
            }
            print(f"{codec}, round {number + 1}: {as_text(row)}", flush=True)
            yield codec, row


def as_text(row: dict[str, Any]) -> str:
    stages = ", ".join(f"{name} {seconds * 1e3:.3f}" for name, seconds in row["stages"].items())
    run, plan = row["run"], row["run"]["plan"]
    return (
        f"{stages} core-ms an image, ideal {row['ideal']:,.0f} images/s, materialised {row['rate']:,.0f} "
        f"({row['share']:.2f} = useful {row['useful']:.2f} × busy {row['busy']:.2f}); peak {run['peak'] / 1e6:,.0f} MB "
        f"of {plan['peak'] / 1e6:,.0f} in the plan; load {os.getloadavg()[0]:.1f}"
    )


def compare(store: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Ours beside the ideal, and beside what one writes by oneself."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for codec, row in rounds(store, options):
        rows.setdefault(codec, []).append(row)
    print(f"\n{options.images} images of {SIZE}×{SIZE}×3, {options.copies} copies; medians of {options.repeat} rounds")
    print("codec      ideal  images/s  share  useful  busy  peak MB  planned MB")
    for codec, found in rows.items():
        ideal, rate, share, useful, busy = (
            statistics.median(row[key] for row in found) for key in ("ideal", "rate", "share", "useful", "busy")
        )
        peak, planned = max(row["run"]["peak"] for row in found), found[0]["run"]["plan"]["peak"]
        print(
            f"{codec:8}{ideal:8,.0f}{rate:10,.0f}{share:7.2f}{useful:8.2f}{busy:6.2f}{peak / 1e6:9,.0f}"
            f"{planned / 1e6:12,.0f}"
        )
    ours = statistics.median(row["rate"] for row in rows[options.codecs[0]])
    for name, rate in (by_oneself := compare_naive(store, options)).items():
        print(
            f"{name}: {rate:,.0f} images/s ({options.naive_images} images, {options.copies} copies); daskaug is "
            f"{ours / rate:.1f}× as fast"
        )
    return {"rounds": rows, "by oneself": by_oneself}


def compare_naive(store: Path, options: argparse.Namespace) -> dict[str, float]:
    """Images per second of what one writes by oneself."""
    cores, rates = len(os.sched_getaffinity(0)), {}
    for scheduler in ("threads", "processes") if options.naive_images else ():
        given = {"store": str(store), "copies": options.copies, "images": options.naive_images, "scheduler": scheduler}
        runs = [measured("naive", cores=cores, **given) for _ in range(options.repeat)]
        rates[f"dask + Keras on {scheduler}"] = statistics.median(run["images"] / run["seconds"] for run in runs)
    return rates


def compare_plans(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What a plan says beside what the run then took; "off" is the error in units of the plan's own ±."""
    cores, runs = len(os.sched_getaffinity(0)), []
    print("        images         plan s   run s    off  plan MB  peak MB  plan disk  disk MB")
    for _ in range(options.repeat):
        for wanted in options.plans:
            images, size = map(int, wanted.split("x"))
            store = photographs(folder, images, size)
            given = {"store": str(store), "copies": options.copies, "codec": options.codecs[0]}
            run = measured("materialize", cores=cores, **given)
            plan = run["plan"]
            off = (run["seconds"] - plan["seconds"]) / plan["off"]
            print(
                f"{images:7,} × {size:>3}²{plan['seconds']:9.2f} ±{plan['off']:5.2f}{run['seconds']:8.2f}{off:+7.2f}"
                f"{plan['peak'] / 1e6:9,.0f}{run['peak'] / 1e6:9,.0f}{plan['disk'] / 1e6:11,.1f}"
                f"{run['disk'] / 1e6:9,.1f}   load {os.getloadavg()[0]:.1f}, planned in {plan['calibrating']:.2f} s",
                flush=True,
            )
            runs.append(run)
    return runs


def main(arguments: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--codecs", nargs="+", default=list(CODECS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--naive-images", type=int, default=512, help="for dask with Keras; 0 leaves it out")
    parser.add_argument(
        "--plans",
        nargs="*",
        metavar="IMAGESxSIZE",
        help="compare plans and runs instead, for 1024x96 4096x224 20000x64 or these",
    )
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "daskaug-bench")
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "ARGUMENTS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        kind, given = options.measure
        print(json.dumps(KINDS[kind](json.loads(given))))
        return None
    if options.plans is not None:
        options.plans = options.plans or ["1024x96", "4096x224", "20000x64"]
        return compare_plans(options.store, options)
    return compare(photographs(options.store, options.images, SIZE), options)


if __name__ == "__main__":
    main()
