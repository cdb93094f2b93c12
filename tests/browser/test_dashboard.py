"""The page in the dask dashboard, seen by a browser while a cluster works: numbers, pictures, hostile names."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import zarr
from PIL import Image

from daskaug import ImageDataGenerator
from tests import clusters, pictures
from tests.browser.browser import WAIT_SECONDS, Watched, chromium
from tests.faults.runs import committed

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

N, SHARD_ROWS, HELD_AT = 350, 5, 60
X = pictures.tiles(48, N)

HOSTILE_WORKER = (
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    "$$\\href{javascript:alert(1)}{x}$$\u202egnp.exe"
)
HOSTILE_PLACE = "<img src=x onerror=\"document.title='taken'\">&amp;\u202e\u05e6\u05d5\u05e8\u05d4" + "long" * 40


class Held:
    """A materialisation in a thread, which stops after some images until it is told to go on."""

    def __init__(self, source: Path, store: Path) -> None:
        self._source, self.store = source, store
        self._is_held, self._goes_on = threading.Event(), threading.Event()
        self.report: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Held:
        self._thread.start()
        assert self._is_held.wait(WAIT_SECONDS), self.error
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> Any:
        self._goes_on.set()
        self._thread.join(WAIT_SECONDS)
        return self.report

    def _run(self) -> None:
        def progress(done: int, total: int) -> None:
            if done == HELD_AT:
                self._is_held.set()
                self._goes_on.wait(WAIT_SECONDS)

        generator = ImageDataGenerator(rotation_range=25, horizontal_flip=True, brightness_range=(0.7, 1.3))
        shards = {"chunk_rows": SHARD_ROWS, "shard_rows": SHARD_ROWS}
        try:
            self.report = generator.materialize(self._source, self.store, seed=5, progress=progress, **shards)
        except BaseException as error:  # noqa: BLE001  shown by whoever waits
            self.error = error


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def source(tmp_path) -> Path:
    zarr.create_array(tmp_path / "photographs.zarr", data=X, chunks=(20, 48, 48, 3))
    return tmp_path / "photographs.zarr"


def page_of(client: Any, path: str = "daskaug") -> str:
    return f"{client.dashboard_link.removesuffix('status')}{path}"


def test_values_on_the_page_are_the_true_counts_while_a_store_is_made(browser, source, tmp_path):
    with clusters.two_workers() as local, distributed.Client(local) as client, Held(source, tmp_path / "m.zarr") as run:
        watched = Watched(browser)
        watched.page.goto(page_of(client))
        watched.wait_for_value("job-done", str(HELD_AT))
        watched.wait_for_value("job-total", str(N))
        watched.wait_for_value("job-state", "running")
        # Some shards more have been written, which the client has not asked for yet.
        expected = 0
        while expected != (found := SHARD_ROWS * len(committed(run.store))):
            expected = found
            for stage in ("read", "transform", "write"):
                watched.wait_for_value(f"images-{stage}", str(expected))
        assert HELD_AT < expected < N
        assert watched.page.locator("a", has_text="Daskaug").count() >= 1
        assert run.finish().rows == N
        watched.wait_for_value("job-done", str(N))
        watched.wait_for_value("job-state", "done")
        watched.wait_for_value("done", str(N))
        watched.wait_for_value("images-write", str(N))
        assert watched.page.evaluate("Bokeh.documents[0].roots().length") == 1
        _check_pictures(watched, run.store)
        watched.save(tmp_path / "dashboard.png")
        assert watched.errors == []
        assert watched.hosts == {"127.0.0.1"}
        watched.page.close()


def _check_pictures(watched: Watched, store: Path) -> None:
    """Every picture of the contact sheet is an image of the store, pixel by pixel."""
    made = zarr.open_array(store / "images", mode="r")[:]
    shown = watched.page.locator("img[data-sample]")
    assert shown.count() >= 1
    for place in range(shown.count()):
        element = shown.nth(place)
        data = element.get_attribute("src")
        with Image.open(io.BytesIO(base64.b64decode(data.removeprefix("data:image/png;base64,")))) as picture:
            assert np.array_equal(np.asarray(picture), made[int(element.get_attribute("data-sample"))])
        assert element.evaluate("image => image.naturalWidth") == 48


def test_figures_show_what_happened_with_units_on_their_axes(browser, source, tmp_path):
    with clusters.two_workers() as local, distributed.Client(local) as client:
        generator = ImageDataGenerator(featurewise_center=True, rotation_range=25)
        generator.fit(source, tolerance=1e-9, memory_budget=40 * X[:20].nbytes)
        with Held(source, tmp_path / "m.zarr") as run:
            watched = Watched(browser)
            watched.page.goto(page_of(client))
            watched.wait_for_value("job-done", str(HELD_AT))
            run.finish()
        watched.wait_for_value("images-write", str(N))
        figures = watched.page.evaluate("""() => {
            const columns = data => data instanceof Map ? [...data.values()] : Object.values(data)
            const numbers = figure => figure.renderers.flatMap(renderer => columns(renderer.data_source.data))
                .flatMap(values => [...values].flatMap(value => typeof value == "object" ? [...value] : [value]))
                .filter(value => typeof value == "number" && value < 1e11)
            return Bokeh.documents[0]._roots[0].select({type: "Figure"}).map(figure => ({
                title: figure.title.text, visible: figure.visible, most: Math.max(0, ...numbers(figure)),
                labels: [...figure.below, ...figure.left].map(axis => axis.axis_label),
            }))
        }""")
        by_title = {figure["title"]: figure for figure in figures}
        assert by_title["Images per second"]["labels"] == ["time", "images/s"]
        assert by_title["What threads are at"]["labels"] == ["time", "threads"]
        assert by_title["Mean of the newest fit, so far"]["visible"]
        assert all(figure["most"] > 0 for figure in figures), figures
        assert watched.errors == []
        watched.page.close()


def test_hostile_names_are_shown_as_text(browser, source, tmp_path):
    with (
        clusters.workers(0) as local,
        _worker_named(HOSTILE_WORKER, local.scheduler_address, tmp_path),
        distributed.Client(local) as client,
    ):
        client.wait_for_workers(1, timeout=WAIT_SECONDS)
        with Held(source, tmp_path / HOSTILE_PLACE) as run:
            for path in ("daskaug", "individual-daskaug"):
                watched = Watched(browser)
                watched.page.goto(page_of(client, path))
                watched.wait_for_value("job-done", str(HELD_AT))
                shown = watched.page.locator("[data-job] bdi").first.inner_text()
                assert "<img src=x onerror=" in shown
                assert "\u202e" not in shown
                under = watched.page.locator("figcaption bdi").first.inner_text()
                assert under.startswith("<script>document.title='taken'</script><img")
                assert watched.page.locator("img:not([data-sample]):not([src*='images/'])").count() == 0
                assert watched.page.locator("mjx-container").count() == 0
                assert watched.page.title() == "Dask: daskaug"
                assert watched.errors == []
                assert watched.hosts == {"127.0.0.1"}
                assert watched.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
                watched.page.close()
            assert run.finish().rows == N


@contextlib.contextmanager
def _worker_named(name: str, scheduler: str, folder: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--name", name, "--no-nanny"]
    command += ["--host", "127.0.0.1", "--nthreads", "1", "--local-directory", str(folder), "--no-dashboard"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with open(folder / "worker.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def test_distributed_own_page_shows_our_stages_and_spans(browser, source, tmp_path):
    with clusters.two_workers() as local, distributed.Client(local) as client, Held(source, tmp_path / "m.zarr") as run:
        assert run.finish().rows == N
        watched = Watched(browser)
        watched.page.goto(page_of(client, "individual-fine-performance-metrics"))
        watched.page.wait_for_function("""() => {
            if (!window.Bokeh || !Bokeh.documents.length) return false
            const models = [...Bokeh.documents[0]._all_models.values()]
            const columns = data => data instanceof Map ? [...data.values()] : Object.values(data)
            const text = JSON.stringify(models.filter(each => each.type == "ColumnDataSource").map(
                each => columns(each.data).map(values => [...values])))
            return text.includes("daskaug-write") && text.includes("daskaug-transform")
        }""")
        options = watched.page.evaluate("""() => [...Bokeh.documents[0]._all_models.values()]
            .filter(each => each.type == 'MultiChoice').flatMap(each => each.options).map(String)""")
        assert {"daskaug", "materialize", "daskaug-materialize"} <= set(options)
        watched.page.close()
