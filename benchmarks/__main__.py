"""Ours and the peers in one run: ``python -m benchmarks``.

Each contestant is a process of its own; in each round every one of them runs for about half a second, in turn. First
with one thread on one processor, then with all. Rates are medians over the rounds, and ratios are medians of the
ratios within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path

from benchmarks import report
from benchmarks.contest import NotHere, Process
from benchmarks.contestants import CONTESTANTS
from benchmarks.images import NUMBER


def main(arguments: list[str] | None = None) -> report.Results:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(NUMBER), help="in pixels")
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each contestant in each round")
    parser.add_argument("--images", type=int, help="in memory, of each size")
    parser.add_argument("--one-core", action="store_true", help="leave out the runs on all processors")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="for tables, numbers and the plot")
    options = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0))
    results = report.Results.of_this_machine(cores)
    for threads in [1] if options.one_core or cores == 1 else [1, cores]:
        contest(options, threads, results)
        report.write(results, options.out)  # what there is, should the rest fail
    print(report.as_markdown(results))
    print(f"Written to {options.out}: " + ", ".join(sorted(path.name for path in options.out.iterdir())))
    return results


def contest(options: argparse.Namespace, threads: int, results: report.Results) -> None:
    """All sizes with so many threads."""
    with contextlib.ExitStack() as stack:
        processes: dict[str, Process] = {}
        for name in options.contestants:
            if name in results.missing or (threads > 1 and CONTESTANTS[name].kind == "spline"):
                continue
            process = Process(name, threads)
            stack.callback(process.close)
            try:
                if threads == 1:
                    results.differences[name] = process.ask(compare=224)["difference"]
                processes[name] = process
            except NotHere as error:
                results.missing[name] = str(error)
                print(f"{name}: not installable here ({error})", flush=True)
        for size in options.sizes:
            taking_part = {n: p for n, p in processes.items() if CONTESTANTS[n].sizes in (None, (size,))}
            for name, process in list(taking_part.items()):
                try:
                    process.ask(prepare=size, seconds=options.seconds, images=options.images)
                except NotHere as error:  # found out late, by a contestant that is not compared
                    results.missing[name] = str(error)
                    print(f"{name}: not installable here ({error})", flush=True)
                    del taking_part[name], processes[name]
            for number in range(options.rounds):
                for name, process in taking_part.items():
                    results.add(threads, size, name, process.ask(run=number))
            print(f"{size}×{size}, {threads} thread(s): {options.rounds} rounds done", flush=True)


if __name__ == "__main__":
    main()
