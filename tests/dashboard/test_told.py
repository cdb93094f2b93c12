"""What a real cluster tells the page while it works, and that nobody's work fails where it cannot."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pytest
import zarr
from PIL import Image

from daskaug import ImageDataGenerator
from daskaug.dashboard.state import HANDLER, Job, State, state_of
from daskaug.execution.links import dashboard_link
from tests import clusters, pictures
from tests.dashboard.waiting import until

N, EPOCHS = 60, 2
X = pictures.tiles(40, N)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("source") / "x.zarr"
    zarr.create_array(path, data=X, chunks=(10, 40, 40, 3))
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with clusters.two_workers() as local:
        yield local


def _count_anew() -> None:
    from daskaug.execution import metrics

    metrics._telling.clear()


@pytest.fixture
def client(cluster) -> Iterator[Any]:
    with distributed.Client(cluster) as client:
        client.run(_count_anew)
        cluster.scheduler.cumulative_worker_metrics.clear()
        state_of(cluster.scheduler).__init__()  # type: ignore[misc]
        yield client


def generator(**options: Any) -> ImageDataGenerator:
    return ImageDataGenerator(rotation_range=25, horizontal_flip=True, **options)


def materialize(x: Any, store: Path) -> Any:
    return generator().materialize(x, store, epochs=EPOCHS, seed=3, chunk_rows=10, shard_rows=10)


def images_of(state: State) -> dict[str, int]:
    return {stage: images for stage in ("read", "transform", "reduce", "write") if (images := state.totals(stage)[1])}


def only_job(state: State) -> Job:
    [job] = state.jobs.values()
    return job


def test_a_materialisation_is_counted_to_the_image(client, cluster, source, tmp_path):
    state = state_of(cluster.scheduler)
    report = materialize(source, tmp_path / "made.zarr")
    rows = EPOCHS * N
    assert until(lambda: images_of(state), lambda found: found.get("write") == rows)
    assert images_of(state) == {"read": rows, "transform": rows, "write": rows}
    for stage in ("read", "transform", "write"):
        seconds, _, nbytes = state.totals(stage)
        assert nbytes == EPOCHS * X.nbytes
        assert 0 < seconds < 60
    job = until(lambda: only_job(state), lambda job: job.ended is not None)
    assert (job.kind, job.name, job.state) == ("materialize", str(tmp_path / "made.zarr"), "done")
    assert (job.done, job.total, job.handed.value) == (rows, rows, rows)
    with dask.config.set({"daskaug.dashboard": False}), distributed.Client(cluster):
        assert materialize(source, tmp_path / "unwatched.zarr").store_hash == report.store_hash


def test_a_rerun_counts_what_it_did_itself(client, cluster, source, tmp_path):
    state = state_of(cluster.scheduler)

    def stop(done: int, total: int) -> None:
        if done >= 20:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        generator().materialize(source, tmp_path / "m.zarr", seed=3, chunk_rows=10, shard_rows=10, progress=stop)
    job = until(lambda: only_job(state), lambda job: job.ended is not None)
    assert (job.state, job.done, job.total) == ("failed", 20, N)
    report = generator().materialize(source, tmp_path / "m.zarr", seed=3, chunk_rows=10, shard_rows=10)
    again = until(lambda: list(state.jobs.values())[-1], lambda job: job is not only_of(state, 0) and job.ended)
    assert 0 < report.rows_written <= N - 20
    assert (again.state, again.done, again.handed.value) == ("done", N, report.rows_written)


def only_of(state: State, number: int) -> Job:
    return list(state.jobs.values())[number]


def test_pictures_are_the_images_that_are_made(client, cluster, source, tmp_path):
    state = state_of(cluster.scheduler)
    materialize(source, tmp_path / "made.zarr")
    until(lambda: len(state.pictures), lambda found: found >= 1)
    stored = zarr.open_array(tmp_path / "made.zarr" / "images", mode="r")[:]
    for shown in state.pictures:
        with Image.open(io.BytesIO(shown.png)) as picture:
            assert np.array_equal(np.asarray(picture), stored[shown.epoch * N + shown.sample])
        assert len(shown.png) < 10_000
        assert shown.worker in {"0", "1"}


def test_distributed_has_the_same_numbers_on_its_own_pages(client, cluster, source, tmp_path):
    with distributed.span("an experiment") as span:
        materialize(source, tmp_path / "made.zarr")
    with distributed.span("another one") as other:
        generator(featurewise_center=True).fit(source)
    spans = cluster.scheduler.extensions["spans"].spans

    def metrics(span: str, task: str, stage: str) -> dict[str, float]:
        found = spans[span].cumulative_worker_metrics
        units = ("images", "bytes", "seconds")
        return {unit: found.get(("execute", task, f"daskaug-{stage}", unit), 0) for unit in units}

    rows, task = EPOCHS * N, "daskaug-materialize"
    until(lambda: metrics(span, task, "write"), lambda found: found["images"] == rows)
    until(lambda: metrics(other, "daskaug-fit", "reduce"), lambda found: found["images"] == N)
    for stage in ("read", "transform", "write"):
        found = metrics(span, task, stage)
        assert (found["images"], found["bytes"]) == (rows, EPOCHS * X.nbytes)
        assert found["seconds"] > 0
    assert [child.name for child in spans[span].children] == [("an experiment", "daskaug")]
    assert spans[span].children[0].children[0].name == ("an experiment", "daskaug", "materialize")


def test_a_fit_shows_its_mean_and_how_near_that_is(client, cluster, source):
    state = state_of(cluster.scheduler)
    fitted = ImageDataGenerator(featurewise_center=True)
    fitted.fit(source, tolerance=1e-9, memory_budget=40 * X[:10].nbytes)
    job = until(lambda: only_job(state), lambda job: job.ended is not None)
    assert (job.kind, job.done, job.total, job.state) == ("fit", N, N, "done")
    images, mean, half = job.running[-1]
    assert images == N
    assert mean == pytest.approx(fitted.statistics.mean.tolist())
    assert half == [0.0, 0.0, 0.0]
    until(lambda: images_of(state), lambda found: found.get("reduce") == N)


@pytest.mark.parametrize("place", ["workers", "consumer"])
def test_a_stream_tells_what_was_handed_out_and_waited_for(client, cluster, source, place):
    state = state_of(cluster.scheduler)
    flow = generator().flow(source, batch_size=8, seed=3, transform_on=place)
    for _ in range(2 * len(flow) + 1):
        next(flow)
    job = until(lambda: only_job(state), lambda job: job.handed.value == 2 * N + 8)
    assert (job.kind, job.name, job.state) == ("flow", flow.source.locator, "running")
    assert (job.epoch, job.done, job.total) == (2, 8, N)
    assert job.waited is not None
    assert job.waited.value == pytest.approx(flow.meter.seconds_waited, abs=1e-6)
    until(lambda: images_of(state), lambda found: found.get("transform", 0) >= 2 * N + 8 and found.get("read", 0) >= N)
    consumer = [worker for worker in state.workers.values() if worker.name == "consumer (flow)"]
    transformed_here = sum(worker.images["transform"].value for worker in consumer)
    assert transformed_here >= 2 * N + 8 if place == "consumer" else not consumer
    flow.close()
    until(lambda: job.state, lambda found: found == "done")
    before = flow.meter.seconds_waited
    for _ in range(len(flow)):  # goes on with the second batch of the third epoch
        next(flow)
    until(lambda: len(state.jobs), lambda found: found == 2)
    again = until(lambda: only_of(state, 1), lambda again: again.handed.value == N)
    assert (again.epoch, again.done, again.total) == (3, 8, N)
    assert again.waited is not None
    assert again.waited.value == pytest.approx(flow.meter.seconds_waited - before, abs=1e-6)
    assert (job.handed.value, job.state) == (2 * N + 8, "done")


def test_a_stream_that_is_dropped_is_over(client, cluster, source):
    state = state_of(cluster.scheduler)
    flow = generator().flow(source, batch_size=8, seed=3)
    next(flow)
    until(lambda: len(state.jobs), lambda found: found == 1)
    del flow
    until(lambda: only_job(state).state, lambda found: found == "done")


def test_switched_off_nothing_is_registered_measured_or_told(source, tmp_path):
    with dask.config.set({"daskaug.dashboard": False}), clusters.two_workers() as local, distributed.Client(local):
        materialize(source, tmp_path / "made.zarr")
        scheduler = local.scheduler
        assert HANDLER not in scheduler.handlers
        assert "daskaug-dashboard" not in scheduler.plugins
        assert not state_of(scheduler).jobs
        assert not [key for key in scheduler.cumulative_worker_metrics if "daskaug-write" in key]
        assert not [span for span in scheduler.extensions["spans"].spans.values() if "daskaug" in span.name]


def test_nonsense_from_another_version_does_no_harm(client, cluster, source, tmp_path):
    materialize(source, tmp_path / "made.zarr")

    async def tell(told: Any) -> Any:
        return await getattr(client.scheduler, HANDLER)(told=told)

    before = len(state_of(cluster.scheduler).workers)
    for told in (
        None,
        7,
        {},
        {"what": "job"},
        {"what": "worker", "address": "tcp://nobody:1", "name": "x", "threads": 1},
    ):
        assert client.sync(tell, told) == "OK"
    assert len(state_of(cluster.scheduler).workers) == before


# --- schedulers that cannot have the page ------------------------------------------------------------------------

WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
def dask_setup(scheduler):
    pass
"""


@contextlib.contextmanager
def scheduler_without(folder: Path, *missing: str) -> Iterator[Any]:
    """A client of a scheduler process that cannot import some modules, and of one worker that can."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    preload = folder / "without.py"
    preload.write_text(WITHOUT.format(missing=missing), encoding="utf-8")
    address = folder / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    command += ["--dashboard-address", "127.0.0.1:0", "--preload", str(preload), "--scheduler-file", str(address)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(address), "--no-nanny"]
    worker += ["--host", "127.0.0.1", "--nthreads", "1", "--local-directory", str(folder)]
    with contextlib.ExitStack() as stack:
        for words in (command, worker):
            with open(folder / f"{words[2]}.log", "w", encoding="utf-8") as log:
                process = subprocess.Popen(words, stdout=log, stderr=log, env=environment, cwd=folder)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        client = stack.enter_context(distributed.Client(scheduler_file=str(address), timeout=60))
        client.wait_for_workers(1, timeout=60)
        yield client


def test_a_scheduler_without_bokeh_counts_and_has_no_page(source, tmp_path, caplog):
    caplog.set_level(logging.INFO, "daskaug")
    with scheduler_without(tmp_path, "bokeh") as client:
        materialize(source, tmp_path / "made.zarr")

        def written(dask_scheduler: Any) -> int:
            return state_of(dask_scheduler).totals("write")[1]

        until(lambda: client.run_on_scheduler(written), lambda found: found == EPOCHS * N)
        link = dashboard_link(client)  # what listens there says that Bokeh is missing
    assert link.url is None
    assert "pip install 'daskaug[jupyter]'" in str(link)


def test_a_scheduler_that_cannot_have_the_page_does_not_disturb_the_work(source, tmp_path, caplog):
    caplog.set_level(logging.INFO, "daskaug")
    with scheduler_without(tmp_path, "daskaug.dashboard.plugin"):
        materialize(source, tmp_path / "made.zarr")
        flow = generator().flow(source, batch_size=8, seed=3)
        assert len(next(flow)) == 8
        flow.close()
    told = [record.getMessage() for record in caplog.records if "takes no daskaug page" in record.getMessage()]
    assert len(told) == 1, told
