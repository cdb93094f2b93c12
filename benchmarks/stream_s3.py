"""Stream shuffled, augmented batches out of an S3 bucket, with and without a cache, beside the local disk.

    python -m benchmarks.stream_s3 [--images 4096] [--latency 0.05] [--way obstore] [--repeat 3]

The server (SeaweedFS) runs on this machine and shares its cores; a proxy before it makes every request take 50 ms
longer, and counts the bytes. Each measurement is a process of its own, with caches that are empty at first.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tests.stores.proxies import Proxy, proxy
from tests.stores.servers import S3, s3_server

ROOMS: dict[str, str | None] = {"S3": None, "S3, memory": "memory", "S3, local Zarr": "zarr", "local disk": None}


def uploaded(store: Path, server: S3) -> int:
    """Copy the store into the bucket, chunks as they are; its bytes."""
    import obstore

    target, total = server.object_store("photographs.zarr").store, 0
    for file in sorted(path for path in store.rglob("*") if path.is_file()):
        content = file.read_bytes()
        obstore.put(target, file.relative_to(store).as_posix(), content)
        total += len(content)
    return total


def stream(asked: dict[str, Any]) -> None:
    """Some epochs; after each, print what it took, and wait for a line."""
    import zarr

    from benchmarks.contestants import OPTIONS
    from daskaug import ImageDataGenerator
    from daskaug.sources import open_images, with_cache

    made = ImageDataGenerator(**OPTIONS).fit(zarr.open_array(asked["store"], mode="r")[:256])
    server = S3(**asked["server"])
    with contextlib.ExitStack() as stack:
        if asked["name"] == "local disk":
            source = open_images(asked["store"])
        elif asked["way"] == "s3fs":
            source = open_images(server.address("photographs.zarr"), storage_options=server.storage_options)
        else:
            source = open_images(zarr.open_array(server.object_store("photographs.zarr"), mode="r"))
        place = ROOMS[asked["name"]]
        if place == "zarr":
            place = stack.enter_context(tempfile.TemporaryDirectory()) + "/cache.zarr"
        source = with_cache(source, place, None if place is None else 2**40)
        began = time.perf_counter()
        batches = made.flow(source, batch_size=32, seed=1)
        for epoch in batches.epochs(asked["epochs"]):
            count, checksum, first = 0, 0, 0.0
            for batch in epoch:
                first = first or time.perf_counter() - began
                count += len(batch)
                checksum = zlib.crc32(np.asarray(batch)[0].tobytes(), checksum)
            seconds = time.perf_counter() - began
            print(json.dumps({"rate": count / seconds, "first": first, "checksum": checksum}), flush=True)
            sys.stdin.readline()
            began = time.perf_counter()
        batches.close()


def measured(asked: dict[str, Any], way: Proxy) -> list[dict[str, Any]]:
    """What each epoch took, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.stream_s3", "--measure", json.dumps(asked)]
    answers: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sent, requests = way.sent, way.requests
        for line in process.stdout:
            answers.append(json.loads(line) | {"sent": way.sent - sent, "requests": way.requests - requests})
            sent, requests = way.sent, way.requests
            process.stdin.write("\n")
            process.stdin.flush()
    if process.returncode or len(answers) != asked["epochs"]:
        raise RuntimeError(f"{asked['name']}: the measuring process ended with {process.returncode}")
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4096, help="more than flow keeps without a cache")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds for each request")
    parser.add_argument("--way", choices=["obstore", "s3fs"], default="obstore")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        stream(options.measure)
        return
    from benchmarks.store import photographs_store

    folder = Path(tempfile.gettempdir()) / "daskaug-bench"
    folder.mkdir(parents=True, exist_ok=True)
    store = photographs_store(folder / f"photographs-{options.images}.zarr", options.images)
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    with s3_server() as server, proxy(server.url, latency=options.latency) as way:
        nbytes = uploaded(store, server)
        address = {key: value for key, value in dataclasses.asdict(server).items() if key != "proxy"}
        asked = {"store": str(store), "server": address | {"url": way.url}, "way": options.way}
        for _ in range(options.repeat):
            for name in ROOMS:
                for number, answer in enumerate(measured(asked | {"name": name, "epochs": 2}, way)):
                    found.setdefault((name, number + 1), []).append(answer)
    print(report(found, nbytes, options))


def report(found: dict[tuple[str, int], list[dict[str, Any]]], nbytes: int, options: argparse.Namespace) -> str:
    """A table of medians."""
    seen = {(epoch, answer["checksum"]) for (_, epoch), each in found.items() for answer in each}
    lines = [
        f"{options.images:,} images of 224×224×3 in {nbytes / 1e6:,.0f} MB, {options.latency * 1e3:.0f} ms for each "
        f"request, {options.way}; medians of {options.repeat}; pixels {'the same' if len(seen) == 2 else 'DIFFER'}",
        "| from | epoch | images/s (range) | bytes fetched per byte of the store | requests | first batch |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (name, epoch), each in found.items():
        rates = sorted(answer["rate"] for answer in each)
        sent, requests, first = (np.median([answer[of] for answer in each]) for of in ("sent", "requests", "first"))
        lines.append(
            f"| {name} | {epoch} | {np.median(rates):,.0f} ({rates[0]:,.0f}–{rates[-1]:,.0f}) | {sent / nbytes:.2f} "
            f"| {requests:,.0f} | {first:.2f} s |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
