"""What the page keeps of what it is told, and how it writes that down: bounded, exact, and without believing a name."""

from __future__ import annotations

import io
import math
import pickle
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from daskaug.dashboard import markup
from daskaug.dashboard.state import (
    ALL_STAGES,
    HISTORY_SECONDS,
    MOST_JOBS,
    MOST_LETTERS,
    MOST_PICTURES,
    MOST_RUNNING,
    Counter,
    State,
    plain,
)
from daskaug.pictures.thumbnails import MOST_NBYTES, thumbnail
from tests import pictures

HOSTILE = (
    "<script>document.title = 'taken'</script>",
    '"><img src=x onerror="document.title=1">',
    "'); alert(1); ('",
    "&lt;b&gt; &amp; </td></table>",
    "\u202egnp.exe\u202c \u2066left\u2069",
    "صورة-العربية/דמות",
    "long " * 40_000,
    "two\nlines\x00and\x1b[31mred",
    "$$\\href{javascript:alert(1)}{x}$$ \\(x\\)",
    "\ud800 half a letter",
)


def job(key: str = "a", **facts: Any) -> dict[str, Any]:
    return {"what": "job", "id": key, "client": "c", "kind": "materialize", "name": "s", "total": 100} | facts


def worker(name: str = "w", address: str = "tcp://1", **facts: Any) -> dict[str, Any]:
    return {"what": "worker", "name": name, "address": address, "threads": 1} | facts


def png(side: int = 16) -> bytes:
    return thumbnail(pictures.tiles(side, 1)[0], "channels_last")


class Texts(HTMLParser):
    """What a browser would show, and the elements that it would make."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_text_whatever_is_in_it(name):
    state = State()
    state.tell(0.0, job(name=name, kind=name, state=name, epoch=1))
    state.tell(0.0, worker(name, picture={"png": png(), "sample": 1, "epoch": 0}))
    shown = markup.headline(state, 1.0) + markup.jobs(state, 1.0) + markup.totals(state)
    shown += markup.picture(state.pictures[0])
    found = Texts(shown)
    assert found.elements <= {
        "style", "div", "b", "span", "table", "tr", "th", "td", "bdi", "figure", "figcaption", "img",
    }  # fmt: skip
    assert not {attribute for attribute in found.attributes if attribute.startswith("on")}
    assert found.texts.count(plain(name)) >= 2  # of the job, and of the worker under its picture
    assert len(shown) < 20_000
    drawn = markup.on_canvas(name)
    assert "$$" not in drawn
    assert "\\(" not in drawn
    assert len(drawn) < 60


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_one_line_of_bounded_length_in_the_usual_direction(name):
    line = plain(name)
    assert len(line) <= MOST_LETTERS
    assert line.isprintable()
    assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    line.encode()  # can be sent


def test_what_is_kept_does_not_grow():
    state = State()

    def size() -> int:
        return len(pickle.dumps((state.jobs, state.workers, state.pictures, state.history, state.left)))

    def go_on(begin: int) -> None:
        for i in range(begin, begin + 2 * HISTORY_SECONDS):
            state.tell(
                float(i), job(str(i), done=i % 100, mean=[1.0] * 500, half=[0.1] * 500, stages={"transform": [1, 1, 1]})
            )
            state.tell(float(i), job("fit", done=i, mean=[float(i)] * 3, total=10**9))
            told = {"stages": {"read": [i / 10, i, i]}, "picture": {"png": png(), "sample": i, "epoch": 0}}
            state.tell(float(i), worker("x" * 10_000, f"tcp://{i}", **told))
            state.remove_worker(f"tcp://{i}")
            state.sample(float(i))

    go_on(0)
    before = size()
    go_on(2 * HISTORY_SECONDS)
    assert size() < 1.1 * before
    assert len(state.jobs) <= MOST_JOBS
    assert len(state.pictures) == MOST_PICTURES
    assert len(state.history) == HISTORY_SECONDS
    assert all(len(each.running) <= MOST_RUNNING for each in state.jobs.values())


def test_totals_count_workers_that_have_left():
    state = State()
    for number in range(3):
        state.tell(1.0, worker(str(number), f"tcp://{number}", stages={"write": [2.0, 10, 1000]}))
    state.tell(2.0, worker("0", "tcp://0", stages={"write": [3.0, 15, 1500]}))
    state.remove_worker("tcp://0")
    state.remove_worker("tcp://0")
    assert state.totals("write") == (7.0, 35, 3500)
    assert state.totals("read") == (0.0, 0, 0)


def test_what_a_consumer_did_counts_once_however_often_its_end_is_told():
    state, stages = State(), {"transform": [1.0, 100, 100]}
    for told in ("running", "done", "done", "running"):
        state.tell(1.0, job("a", state=told, stages=stages))
        assert state.totals("transform") == (1.0, 100, 100)
    assert state.jobs["a"].state == "done"
    for number in range(MOST_JOBS):  # it is not shown any more, but known
        state.tell(2.0, job(str(number)))
    state.tell(3.0, job("a", state="done", stages=stages))
    assert state.totals("transform") == (1.0, 100, 100)
    assert not [worker for worker in state.workers.values() if worker.client]


def test_what_a_consumer_did_counts_once_where_more_jobs_run_than_are_shown():
    state, running = State(), MOST_JOBS + 2
    for _ in range(3):
        for number in range(running):
            state.tell(1.0, job(str(number), stages={"transform": [1.0, 100, 100]}))
    assert state.totals("transform") == (running, 100 * running, 100 * running)
    state.remove_client("c", 2.0)
    assert len(state.workers) == MOST_JOBS  # of those that are shown as gone
    for number in range(MOST_JOBS):
        state.tell(3.0, job(f"new {number}", client="other"))
    assert not state.workers
    assert state.totals("transform") == (running, 100 * running, 100 * running)


def test_a_client_that_comes_back_goes_on_with_its_jobs():
    state = State()
    state.tell(0.0, job(done=10, stages={"transform": [1.0, 10, 10]}))
    state.remove_client("c", 5.0)
    state.tell(6.0, job(done=20, stages={"transform": [2.0, 20, 20]}))
    assert (state.jobs["a"].state, state.jobs["a"].ended) == ("running", None)
    state.tell(7.0, job(done=100, state="done", stages={"transform": [3.0, 100, 100]}))
    assert state.totals("transform") == (3.0, 100, 100)


def test_samples_of_an_idle_cluster_are_those_that_would_be_taken():
    state = State()
    for second in range(20):
        state.tell(float(second), worker(stages={"read": [second / 2, second, second]}))
        state.tell(float(second), job(done=second, waited=second / 4))
        state.sample(float(second))
    for second in range(20, 40):
        state.sample(float(second))
        found = state.history[-1]
        assert found.time == second
        assert found.stages == tuple(state.threads_at(name, second) for name in ALL_STAGES)
        assert found.workers == {"w": state.workers["tcp://1"].images_per_second(second)}
        assert (found.images, found.waited) == (state.jobs["a"].rate(second), state.jobs["a"].share_waited(second))
    assert not found.is_busy
    assert state.samples == len(state.history) == 40
    state.tell(40.0, worker(stages={"read": [10.0, 30, 30]}))
    state.sample(40.0)
    assert state.history[-1].workers["w"] > 0
    state.remove_worker("tcp://1")
    state.tell(41.0, job(state="done"))
    state.sample(50.0)
    state.sample(51.0)
    assert state.history[-1].workers == {}
    assert math.isnan(state.history[-1].waited)


def test_whoever_tells_seldom_does_not_seem_to_work_for_ever():
    counter = Counter()
    counter.set(0.0, 0.0)
    counter.set(3600.0, 120.0)
    assert counter.rate(3600.0) == pytest.approx(2.0)
    assert counter.rate(3661.0) == 0.0


def test_what_makes_no_sense_is_refused():
    state = State()
    for told in (
        {},
        {"what": "weather"},
        job(done="many"),
        job(done=math.nan),
        worker(stages={"read": [1.0]}),
        worker(stages={"read": [math.inf, 1, 1]}),
        worker(threads=None),
    ):
        with pytest.raises((ValueError, TypeError, KeyError)):
            state.tell(0.0, told)
    state.tell(0.0, worker(stages={"baking": [1, 1, 1]}))
    for content in (b"<svg onload=alert(1)>", b"\x89PNG\r\n\x1a\n" + bytes(20_000)):
        state.tell(0.0, worker(picture={"png": content, "sample": 0, "epoch": 0}))
    assert not state.pictures


def test_a_rate_is_that_of_the_last_seconds():
    counter = Counter()
    for second in range(30):
        counter.set(float(second), 7.0 * min(second, 20))
    assert counter.value == 140
    assert counter.rate(20.0) == pytest.approx(7.0, rel=0.5)
    busy = Counter()
    for second in range(21):
        busy.set(float(second), 7.0 * second)
    assert busy.rate(20.0) == pytest.approx(7.0)
    assert busy.rate(22.0) == pytest.approx(7.0 * 3 / 5)
    assert busy.rate(40.0) == 0.0
    busy.set(41.0, 3.0)  # whoever counts has begun anew
    assert busy.value == 3
    assert Counter().rate(1.0) == 0.0


def test_a_job_that_runs_says_when_it_will_be_done():
    state = State()
    for second in range(11):
        state.tell(float(second), job(done=4 * second, total=100, waited=second / 4))
    found = state.jobs["a"]
    assert found.seconds_left(10.0) == pytest.approx(15.0)
    assert found.share_waited(10.0) == pytest.approx(0.25)
    assert "15 s left" in markup.jobs(state, 10.0)
    assert 'data-value="waited">25 %' in markup.headline(state, 10.0)
    state.tell(30.0, job(done=100, state="done"))
    assert found.seconds_left(31.0) is None
    assert found.rate(99.0) == pytest.approx(100 / 30)
    state.remove_client("c", 40.0)
    assert found.state == "done"


def test_the_jobs_of_a_client_that_has_gone_do_not_seem_to_run():
    state = State()
    state.tell(0.0, job("a"))
    state.tell(0.0, job("b", client="other"))
    state.remove_client("c", 5.0)
    assert [(each.state, each.ended) for each in state.jobs.values()] == [("gone", 5.0), ("running", None)]


@pytest.mark.parametrize(
    "image",
    [
        pictures.tiles(40, 1)[0],
        np.moveaxis(pictures.tiles(40, 1)[0], 2, 0),
        pictures.tiles(40, 1)[0][..., :1],
        np.random.RandomState(0).randint(0, 256, (500, 300, 3)).astype(np.uint8),
        np.random.RandomState(0).normal(size=(9, 64, 64)).astype(np.float32),
        np.full((8, 8, 3), np.nan, np.float32),
        np.zeros((3000, 1, 2), np.float64),
    ],
    ids=["small", "channels first", "grey", "noise", "nine channels", "no numbers", "narrow"],
)
def test_a_thumbnail_is_a_small_png_file(image):
    data_format = "channels_first" if image.shape[0] in (3, 9) else "channels_last"
    made = thumbnail(image, data_format)
    assert len(made) <= MOST_NBYTES
    with Image.open(io.BytesIO(made)) as picture:
        assert picture.format == "PNG"
        assert max(picture.size) <= 64
        if image.shape == (40, 40, 3):
            assert np.array_equal(np.asarray(picture), image)
