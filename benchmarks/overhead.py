"""What a cluster costs: the same materialise on threads, on processes of one machine, and on several hosts.

    python -m benchmarks.overhead [--images 2048] [--rounds 5]

Photographs of 224×224×3 through the reference pipeline, one copy, stored as blosc-lz4; two threads, or two workers of
one thread each, on the same two cores. The source is a Zarr store that everybody sees, or an array in the client's
memory, whose pixels travel. All places take turns within a round; ratios are taken within it, and medians over rounds.

The hosts are network namespaces, each with an address of its own, which a switch in user space joins: as root only.
What it takes of the cores, workers do not have; it is told beside the rest. With latency, packets are those of an
Ethernet, and each host sends 20 ms late and loses 1 %. Bytes are those of IP packets, on the way from one to the other;
on one machine they are those of its loopback device, where everything that is sent is counted once.

The processor time of the scheduler is what its process takes from before a run until after it, divided by the tasks.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.materialize import SIZE, generator, photographs
from tests.cluster import recipes
from tests.hosts.cluster import Cluster, Place, ThisMachine, cluster
from tests.hosts.network import MTU, Network, network, unavailable

PLACES = ("threads", "processes", "hosts", "hosts, 20 ms, 1 %")
SOURCES = ("store", "memory")
ROLES = ("scheduler", "one", "two", "client")
LATENCY, LOSS = 0.02, 0.01
LARGE_MTU = 65_000
"""Where only the amount counts: real network cards cut packets themselves, and here the switch would have to."""

Row = dict[str, Any]


# --- the client, in a process of its own --------------------------------------------------------------------------


def measure(given: Row) -> None:
    """Warm up, wait to be told, materialise, and print what was found."""
    import zarr

    from daskaug.execution import connecting

    store, folder = Path(given["store"]), Path(given["folder"])
    source: Any = store if given["source"] == "store" else zarr.open_array(store, mode="r")[:]
    few: Any = zarr.open_array(store, mode="r")[:4]
    made = generator()
    options = {"epochs": 1, "seed": 1, "codec": "lz4"}
    with connecting.connected(given["address"] or "threads"):
        made.materialize(few, folder / "warm.zarr", chunk_rows=1, shard_rows=1, **options)
        idle = scheduler_seconds(given["address"])
        began = time.perf_counter()
        time.sleep(1)
        idle = (scheduler_seconds(given["address"]) - idle) / (time.perf_counter() - began)
        print("ready", flush=True)
        input()
        cpu, began = scheduler_seconds(given["address"]), time.perf_counter()
        report = made.materialize(source, folder / "made.zarr", **options)
        seconds, cpu = time.perf_counter() - began, scheduler_seconds(given["address"]) - cpu
    tasks = zarr.open_array(folder / "made.zarr/shard_digest", mode="r").shape[0]
    found = {"images": report.rows, "seconds": seconds, "tasks": tasks, "scheduler": cpu, "idle": idle}
    print(json.dumps(found | {"hash": report.store_hash}), flush=True)


def scheduler_seconds(address: str | None) -> float:
    """Processor seconds that the scheduler's process has taken so far."""
    if not address:
        return 0.0
    import distributed

    found = distributed.Client.current().run_on_scheduler(time.process_time)
    assert isinstance(found, float)
    return found


# --- places -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Stage:
    """Where a client is to be run, and what counts bytes meanwhile.

    Attributes
    ----------
    address : str or None
        Of the scheduler.
    client : Place
    net : Network or None
        Where the hosts are several, or one that is alone with itself.
    """

    address: str | None
    client: Place
    net: Network | None

    def counted(self) -> dict[str, int]:
        """Bytes so far: by way, and all of them on one machine."""
        if self.net is not None and len(self.net.hosts) > 1:
            ways: dict[str, int] = {}
            for (sender, receiver), nbytes in self.net.traffic().nbytes.items():
                names = [{"one": "worker", "two": "worker"}.get(name, name) for name in (sender, receiver)]
                way = " → ".join(names)
                ways[way] = ways.get(way, 0) + nbytes
            return ways
        here = contextlib.nullcontext() if self.net is None else self.net["machine"].inside()
        with here:
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        return {"loopback": int(next(line for line in lines if line.strip().startswith("lo:")).split()[9])}

    def switch_seconds(self) -> float:
        """Processor seconds that the switch has taken."""
        if self.net is None:
            return 0.0
        times = psutil.Process(self.net.switch_pid).cpu_times()
        return float(times.user + times.system)


@contextlib.contextmanager
def stage(place: str, folder: Path) -> Iterator[Stage]:
    """Start what a place needs."""
    with contextlib.ExitStack() as stack:
        net: Network | None = None
        if place == "threads":
            yield Stage(None, ThisMachine("client"), None)
            return
        if place == "processes":
            there: dict[str, Place] = {name: ThisMachine(name) for name in ROLES}
            if unavailable() is None:  # then the loopback device is theirs alone
                net = stack.enter_context(network("machine"))
                there = {name: dataclasses.replace(net["machine"], name=name) for name in ROLES}
        else:
            net = stack.enter_context(network(*ROLES, mtu=MTU if "ms" in place else LARGE_MTU))
            there = {name: net[name] for name in ROLES}
            if "ms" in place:
                net.shape(delay=LATENCY, loss=LOSS)
        workers = [there["one"], there["two"]]
        started: Cluster = stack.enter_context(cluster(there["scheduler"], workers, folder))
        for program in started.workers.values():
            program.until_it_says("Registered to:")
        yield Stage(started.address, there["client"], net)


def run(place: str, source: str, store: Path) -> Row:
    """One measurement, on what is started for it."""
    folder = Path(tempfile.mkdtemp(prefix="daskaug-bench-"))
    try:
        with stage(place, folder) as where:
            given = {"store": str(store), "folder": str(folder), "source": source, "address": where.address}
            words = [sys.executable, "-m", "benchmarks.overhead", "--measure", json.dumps(given)]
            command = [str(word) for word in where.client.command(words)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            with subprocess.Popen(command, text=True, env=recipes.environment(), cwd=recipes.ROOT, **pipes) as client:
                assert client.stdin is not None
                assert client.stdout is not None
                assert client.stdout.readline() == "ready\n", "the client has ended"
                before, switch = where.counted(), where.switch_seconds()
                client.stdin.write("\n")
                client.stdin.flush()
                found: Row = json.loads(client.stdout.readline())
                after = where.counted()
                found["switch"] = where.switch_seconds() - switch
                found["bytes"] = {way: after[way] - before[way] for way in after} if where.address else {}
        return found
    finally:
        shutil.rmtree(folder)


# --- together -----------------------------------------------------------------------------------------------------


def measured(options: argparse.Namespace) -> dict[tuple[str, str], list[Row]]:
    """Everything in turn, by place and source."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for number in range(options.rounds):
        for source in options.sources:
            for place in options.places:
                far = "ms" in place and source == "memory"
                images = options.far_images if far else options.images
                row = run(place, source, photographs(options.store, images, SIZE))
                rows.setdefault((place, source), []).append(row)
                rate = row["images"] / row["seconds"]
                load = os.getloadavg()[0]
                print(f"round {number + 1}: {source}, {place}: {rate:,.0f} images/s; load {load:.1f}", flush=True)
    return rows


def table(rows: dict[tuple[str, str], list[Row]]) -> list[str]:
    """Medians, as Markdown."""
    lines = [
        "| source | on | images/s | of threads | scheduler, ms/task | idle, ms/s | switch, s | tasks | KB/image |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for (place, source), found in rows.items():
        on_threads = rows.get(("threads", source), [])
        ratios = [
            (row["images"] / row["seconds"]) / (base["images"] / base["seconds"])
            for row, base in zip(found, on_threads, strict=False)
        ]
        cells = [
            source,
            place,
            f"{median(row['images'] / row['seconds'] for row in found):,.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "",
            f"{1e3 * median(row['scheduler'] / row['tasks'] for row in found):.2f}",
            f"{1e3 * median(row['idle'] for row in found):.0f}",
            f"{median(row['switch'] for row in found):.2f}",
            str(found[0]["tasks"]),
            ", ".join(
                f"{way} {median(row['bytes'][way] / row['images'] for row in found) / 1e3:.2f}"
                for way in found[0]["bytes"]
                if found[0]["bytes"][way]
            ),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def median(values: Iterator[float]) -> float:
    return float(statistics.median(values))


def main(arguments: list[str] | None = None) -> dict[tuple[str, str], list[Row]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--far-images", type=int, default=64, help="in memory, with latency and loss")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--places", nargs="+", choices=PLACES, default=None, help="all that this user may make")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "daskaug-bench")
    parser.add_argument("--measure", metavar="ARGUMENTS", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        measure(json.loads(options.measure))
        return {}
    why = unavailable()
    options.places = options.places or [place for place in PLACES if why is None or not place.startswith("hosts")]
    if why is not None:
        print(f"No hosts: {why}.")
    rows = measured(options)
    print(f"\nMedians of {options.rounds} rounds, {options.images:,} images of {SIZE}×{SIZE}×3:\n")
    print("\n".join(table(rows)))
    return rows


if __name__ == "__main__":
    main()
