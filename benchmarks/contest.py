"""Contestants in processes of their own, which take turns: one works while the others wait.

A contestant's process reads requests from its standard input and answers each with a line of JSON::

    {"prepare": 224, "seconds": 0.5}   make the images; find out how many batches take that long
    {"run": true}                      make so many batches
    {"compare": 224}                   warp one photograph by one matrix; how far it is from SciPy in float64

The machine's speed drifts, so that only what was measured in the same round is compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# For one thread: libraries that do not ask how many processors they may run on ask for one of these.
THREAD_VARIABLES = (
    "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
QUIET = {
    "ALBUMENTATIONS_NO_TELEMETRY": "1",
    "JAX_PLATFORMS": "cpu",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "PYTHONWARNINGS": "ignore",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
}
BACKENDS = {"tf.data + Keras layers": "tensorflow"}


class NotHere(Exception):
    """A contestant cannot be had on this machine."""


class Process:
    """A contestant, seen from outside."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        backend = BACKENDS.get(name, "jax")
        environment = {**os.environ, **QUIET, "KERAS_BACKEND": backend}
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed when the process is
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contest", name, str(threads)],
            cwd=Path(__file__).parents[1],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises
        ------
        NotHere
            The library is not installed.
        RuntimeError
            Anything else went wrong; with what the process wrote.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"{self.name} ended:\n{self._errors.read()[-3000:]}")
        answer = json.loads(line)
        if "missing" in answer:
            raise NotHere(answer["missing"])
        return dict(answer)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def serve(name: str, threads: int) -> None:
    """Be a contestant."""
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from benchmarks.contestants import CONTESTANTS

    contestant = CONTESTANTS[name]
    state: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                answer = prepare(contestant, threads, request, state)
            elif "compare" in request:
                answer = {"difference": compare(contestant, request["compare"])}
            else:
                answer = measured(state["run"], state["count"], threads)
        except ImportError as error:
            answer = {"missing": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


def prepare(contestant: Any, threads: int, request: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Warm up, and find out how many batches take about as long as is asked for."""
    from benchmarks.images import NUMBER, photograph_crops

    size = request["prepare"]
    state.clear()  # the images of the size before
    run = contestant.prepare(photograph_crops(request.get("images") or NUMBER[size], size), threads)
    run(threads)
    count = threads
    while measured(run, count, threads)["wall"] < request["seconds"] / 3:
        count *= 2
    count = max(threads, round(count * request["seconds"] / measured(run, count, threads)["wall"]))
    state.update(run=run, count=count)
    return {"batches": count}


def measured(run: Any, count: int, threads: int) -> dict[str, float]:
    """Wall and processor seconds, and images per second.

    On one core, the second is one of the processor's: others who use the machine do not count.
    """
    from benchmarks.contestants import BATCH

    began, cpu = time.perf_counter(), time.process_time()
    run(count)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    time.sleep(0.03)  # let those come to an end who have more under way than they were asked for
    return {"wall": wall, "cpu": cpu, "images": count * BATCH, "rate": count * BATCH / (cpu if threads == 1 else wall)}


def compare(contestant: Any, size: int) -> float | None:
    """Largest difference from SciPy in float64, in grey levels, for a photograph under one matrix."""
    import numpy as np

    from benchmarks.contestants import matrix_of_parameters, warp_scipy
    from benchmarks.images import photograph_crops

    if contestant.warp is None:
        return None
    image, matrix = photograph_crops(1, size)[0], matrix_of_parameters((size, size))
    return float(np.abs(contestant.warp(image, matrix) - warp_scipy(image, matrix)).max())


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
