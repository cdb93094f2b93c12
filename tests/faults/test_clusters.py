"""Workers, schedulers and clients that are killed, or whose clocks are wrong, under each of the jobs.

Materialising with killed processes is in test_killed.py, streaming with killed workers in tests/laws.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from daskaug.errors import LostClusterError
from daskaug.sources import open_images, with_cache
from tests import clusters
from tests.faults import jobs
from tests.faults.jobs import KINDS, Fit, Job, Stream, at_step, stored
from tests.faults.test_killed import scheduler_and_workers

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
STEPS = 4


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch, caplog):
    jobs.two_threads(monkeypatch)
    caplog.set_level(logging.CRITICAL, "distributed")  # what it says of a loss is no news here


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return stored(tmp_path_factory.mktemp("source") / "x.zarr")


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """What each kind of job comes to on threads, and in how many steps."""

    @functools.cache
    def known(kind: str) -> tuple[str, int]:
        job = KINDS[kind](source, tmp_path_factory.mktemp(kind))
        return job.run(), job.steps[0]

    return known


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    with clusters.two_workers() as made:
        yield made


def continued(kind: str, source: Path, folder: Path) -> Job:
    """The job that a process has left behind."""
    if kind != "stream":
        return KINDS[kind](source, folder)
    written = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    job = Stream(source, folder, written["state"])
    job.served = written["served"]
    return job


def in_another_process(
    kind: str, source: Path, folder: Path, *scheduler: str, environment: dict[str, str] | None = None
) -> None:
    """A few steps, until it is killed."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.consumer"]
    given = [kind, str(source), str(folder), str(STEPS), *scheduler]
    done = subprocess.run(
        [*command, *given], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, timeout=150, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_fit_goes_on_when_a_worker_is_killed(source, tmp_path, undisturbed):
    with clusters.two_workers() as local, contextlib.closing(local.get_client()) as client:
        victims = iter(client.run(os.getpid).values())
        job = Fit(source, tmp_path)
        assert job.run(at_step(2, lambda: os.kill(next(victims), signal.SIGKILL))) == undisturbed("fit")[0]


@pytest.mark.parametrize("kind", ["fit", "stream"])
def test_when_the_client_is_killed_another_one_goes_on(kind, source, cluster, tmp_path, undisturbed):
    """On the same cluster; materialising is in test_killed.py."""
    in_another_process(kind, source, tmp_path, cluster.scheduler_address)
    expected, steps = undisturbed(kind)
    with Client(cluster):
        job = continued(kind, source, tmp_path)
        assert job.run() == expected
    assert 0 < job.steps[0] < steps


@pytest.mark.parametrize("kind", ["fit", "stream"])
def test_when_the_scheduler_is_killed_that_is_said_and_the_same_call_goes_on(kind, source, tmp_path, undisturbed):
    expected, steps = undisturbed(kind)
    with scheduler_and_workers(tmp_path / "logs") as (scheduler, file):
        client = Client(scheduler_file=file, timeout=5)
        client.wait_for_workers(2, timeout=60)
        job = KINDS[kind](source, tmp_path / "job")

        def kill() -> None:
            scheduler.kill()
            scheduler.wait()

        said = r"(has lost the tasks|does not answer).*with a new distributed\.Client"
        raises = pytest.raises(LostClusterError, match=said)
        # Batches that nobody computes any more are computed here, unless the loss comes in the midst of that.
        with raises if kind == "fit" else contextlib.suppress(LostClusterError):
            job.run(at_step(2, kill))
        client.close(timeout=1)
    assert job.run() == expected
    assert job.steps[1] < steps


# --- clocks ------------------------------------------------------------------------------------------------------


def skewed(by: str) -> dict[str, str]:
    """Environment of a process whose clock, and what the file system tells it, is off by a while."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop("Debian's package faketime is missing: .ci/install-debian-packages faults")
    # What it has shared with a process that was killed stays, and ends the next one that gets the same number.
    for left in Path("/dev/shm").glob("*faketime_*"):
        if not Path("/proc", left.name.rpartition("_")[2]).exists():
            left.unlink(missing_ok=True)
    # Time that has passed stays true: waiting with a time-out goes by it.
    return os.environ | {"LD_PRELOAD": str(library), "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@contextlib.contextmanager
def skewed_cluster(folder: Path) -> Iterator[Client]:
    """Of two workers, one is an hour ahead of scheduler and client, and the other one a day behind."""
    folder.mkdir()
    common = ["--scheduler-file", str(folder / "scheduler.json"), "--host", "127.0.0.1"]
    dask = [sys.executable, "-m", "dask"]
    scheduler = [*dask, "scheduler", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0", *common]
    worker = [*dask, "worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    worker += ["--local-directory", str(folder), *common]
    with (folder / "log").open("wb") as log, contextlib.ExitStack() as stack:

        def start(command: list[str], environment: dict[str, str] | None = None) -> None:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)
            stack.callback(process.wait, 60)
            stack.callback(process.kill)

        start(scheduler)
        client = stack.enter_context(Client(scheduler_file=str(folder / "scheduler.json"), timeout=60))
        for by in ("+1h", "-1d"):  # not before its file is written: a worker may find half of it
            start(worker, skewed(by))
        client.wait_for_workers(2, timeout=60)
        yield client


def test_workers_with_wrong_clocks_make_the_same(source, tmp_path, undisturbed):
    with skewed_cluster(tmp_path / "logs") as client:
        here = client.run_on_scheduler(hours)
        assert sorted(there - here for there in client.run(hours).values()) == [-24, 1]
        for kind in KINDS:
            assert KINDS[kind](source, tmp_path / kind).run() == undisturbed(kind)[0]


def hours() -> int:
    import time

    return round(time.time() / 3600 - 0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_who_goes_on_may_be_a_day_behind_who_began(kind, source, tmp_path, undisturbed):
    in_another_process(kind, source, tmp_path, environment=skewed("+1d"))
    expected, steps = undisturbed(kind)
    job = continued(kind, source, tmp_path)
    assert job.run() == expected
    assert 0 < job.steps[0] < steps


def test_a_cache_of_tomorrow_or_yesterday_is_used(source, tmp_path, undisturbed):
    """What it holds is told by its checksums, and whose it is by pixels."""
    cache = tmp_path / "cache.zarr"
    Stream(with_cache(open_images(source), cache), tmp_path).run()
    for shift in (-86400, 86400):
        for path in [cache, *cache.iterdir(), source, *source.rglob("*")]:
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime + shift))
        cached = with_cache(open_images(source), cache)
        assert Stream(cached, tmp_path).run() == undisturbed("stream")[0]
        assert cached.misses == 0
        assert cached.hits > 0
