"""A job in a process of its own: ``python -m tests.faults.consumer KIND SOURCE FOLDER STEPS [SCHEDULER]``.

It does so many steps, writes down what a stream has served and where it is, and kills itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.faults.jobs import KINDS, Job, Stream, at_step, two_threads


def main(kind: str, source: str, folder: str, steps: str, scheduler: str | None = None) -> None:
    """Run as above."""
    two_threads(SimpleNamespace(setattr=setattr))
    if scheduler is not None:
        from distributed import Client

        Client(scheduler, timeout=60)
    job = KINDS[kind](source, Path(folder))
    job.run(at_step(int(steps), lambda: stop(job)))


def stop(job: Job) -> None:
    if isinstance(job, Stream):
        state: dict[str, Any] = {"served": job.served, "state": job.batches.state_dict()}
        (job.folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
