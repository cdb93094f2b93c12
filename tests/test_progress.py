"""Progress is shown where the call runs: on a terminal, in a notebook, in a log. (Notebooks: tests/notebooks.)"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError
from daskaug.materialize import verify
from daskaug.progress import Course, Lines, showing
from tests import pictures

ROOT = Path(__file__).parents[1]
X = pictures.tiles(16, 60)
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def source(tmp_path) -> Path:
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(10, 16, 16, 3))
    return tmp_path / "x.zarr"


# --- a log -------------------------------------------------------------------------------------------------------


def logged(course: Course, seconds: list[tuple[float, int, int]], now: list[float]) -> list[str]:
    """The lines of a log, told so much is done at so many seconds."""
    lines: list[str] = []
    log = Lines(lines.append, course)
    for now[0], course.done, course.total in seconds:
        log.show(course)
    log.close(course.last_line(None))
    return lines


def test_a_log_has_a_line_every_ten_seconds_at_most():
    now = [0.0]
    course = Course("materialize", row_nbytes=1_000_000, before=100, clock=lambda: now[0])
    assert logged(course, [(second, 100 + 50 * second, 1100) for second in range(1, 21)], now) == [
        "materialize: 600 of 1,100 images (54%), 50 images/s, 50.0 MB/s, 10 s left",
        "materialize: 1,100 images, 100 of them there before, 20 s, 50 images/s, 50.0 MB/s",
    ]


@pytest.mark.parametrize(("seconds", "most"), [(50, 6), (3_000, 101), (86_400, 145)])
def test_a_long_run_has_few_lines(seconds, most):
    now = [0.0]
    course = Course("fit", clock=lambda: now[0])
    lines = logged(course, [(second, second, seconds) for second in range(1, seconds + 1)], now)
    assert 0.8 * most < len(lines) <= most


def test_a_run_that_hardly_moves_is_not_silent():
    now = [0.0]
    course = Course("fit", clock=lambda: now[0])
    lines = logged(course, [(second, 1 + second // 100, 1_000_000) for second in range(1, 6_000)], now)
    assert 8 < len(lines) < 12


def test_where_the_end_is_not_known_nothing_is_guessed():
    now = [0.0]
    course = Course("fit", is_at_most=True, clock=lambda: now[0])
    lines = logged(course, [(second, 10 * second, 60_000) for second in range(1, 1001)], now)
    assert lines[0] == "fit: 100 of at most 60,000 images, 10 images/s"
    assert 20 < len(lines) < 60
    assert not any("left" in line or "%" in line for line in lines)
    assert lines[-1] == "fit: 10,000 of 60,000 images were enough, 16 min 40 s, 10 images/s"


def test_it_says_which_pass():
    now = [0.0]
    course = Course("fit", passes=3, clock=lambda: now[0])
    told = []
    for now[0], course.done, course.total in [(1.0, 50, 300), (2.0, 100, 300), (3.0, 299, 300), (3.0, 300, 300)]:
        told.append(course.counted)
    assert told == [
        "pass 1 of 3: 50 of 100 images",
        "pass 2 of 3: 0 of 100 images",
        "pass 3 of 3: 99 of 100 images",
        "pass 3 of 3: 100 of 100 images",
    ]
    assert course.last_line(None) == "fit: 100 images, 3 passes, 3.0 s, 100 images/s"


def test_each_call_leaves_one_line_in_a_log(source, tmp_path, capsys):
    store = tmp_path / "m.zarr"
    made = ImageDataGenerator(rotation_range=20, zca_whitening=True, featurewise_center=True)
    made.fit(X, zca_route="samples", progress=True)
    made.materialize(source, store, shard_rows=10, progress=True)
    verify(store, full=True, source=source, progress=True)
    out, err = capsys.readouterr()
    assert not out
    assert re.fullmatch(
        r"fit: 60 images, \d+ passes, .* images/s, .* MB/s\n"
        r"materialize: 60 images, .* images/s, .* MB/s\n"
        r"verify: 6 shards, .* shards/s\n",
        err,
    )


def test_nothing_is_shown_unasked(source, tmp_path, capsys):
    made = ImageDataGenerator(featurewise_center=True).fit(source, progress=False)
    made.materialize(source, tmp_path / "m.zarr", progress=None)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("progress", [1, "yes", [print]])
def test_what_cannot_be_told_anything_is_refused_before_any_work(source, tmp_path, progress):
    made = ImageDataGenerator(featurewise_center=True)
    for call in (
        lambda: made.fit(source, progress=progress),
        lambda: made.materialize(source, tmp_path / "m.zarr", progress=progress),
    ):
        with pytest.raises(ConfigError, match="`progress` must be True"):
            call()
    assert made.mean is None
    assert not (tmp_path / "m.zarr").exists()


def test_a_function_is_called_with_what_is_done(source, tmp_path):
    told = []
    made = ImageDataGenerator(featurewise_center=True).fit(source, progress=lambda *counts: told.append(counts))
    assert told[-1] == (60, 60)
    made.materialize(source, tmp_path / "m.zarr", shard_rows=20, progress=lambda *counts: told.append(counts))
    assert told[-3:] == [(20, 60), (40, 60), (60, 60)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_was_raised_goes_on_and_how_far_it_came_is_said(capsys, error):
    raised = error()

    def broken_off() -> None:
        with showing(True, "fit") as shown:
            shown(30, 120)
            raise raised

    with pytest.raises(error) as caught:
        broken_off()
    assert caught.value is raised
    how = "interrupted" if error is KeyboardInterrupt else "stopped by ZeroDivisionError"
    assert capsys.readouterr().err == f"fit: {how} after 0.0 s, at 30 of 120 images (25%)\n"


def test_one_display_serves_calls_within_calls(capsys):
    with showing(True, "ingest") as outer, showing(outer, "materialize", row_nbytes=1000, before=20) as inner:
        assert inner is outer
        inner(60, 60)
    assert re.fullmatch(r"ingest: 60 images, 20 of them there before, .* MB/s\n", capsys.readouterr().err)


# --- a terminal --------------------------------------------------------------------------------------------------

ON_A_TERMINAL = """
import sys, warnings
warnings.simplefilter("error")
from daskaug import ImageDataGenerator
from tests import pictures
made = ImageDataGenerator(featurewise_center=True, rotation_range=20)
made.fit(pictures.tiles(16, 60), progress=True)
from daskaug.progress import showing
if sys.argv[2] == "interrupt":
    with showing(True, "materialize") as shown:
        shown(30, 60)
        raise KeyboardInterrupt
made.materialize(pictures.tiles(16, 60), sys.argv[1], shard_rows=10, progress=True)
"""


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a terminal of 80 columns gets to see of the script."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=ROOT,
        env={"TERM": "xterm", "COLUMNS": "80"} | os.environ | environment,
    ) as process:
        os.close(theirs)
        seen = bytearray()
        end = time.monotonic() + 120
        while time.monotonic() < end and (process.poll() is None or select.select([ours], [], [], 0)[0]):
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    seen += os.read(ours, 65536)
                except OSError:  # Linux' way of saying that nobody writes any more
                    break
        process.kill()
    os.close(ours)
    return seen.decode()


def lines_left(seen: str) -> list[str]:
    """What can be read when all is over: the last thing that was written to each line which was not erased."""
    plain = [re.split(r"\x1b\[2K|\r", line)[-1] for line in seen.replace("\r\n", "\n").split("\n")]
    return [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in plain]


def test_a_terminal_has_a_bar_and_keeps_a_line(tmp_path):
    seen = on_a_terminal(str(tmp_path / "m.zarr"), "finish")
    assert "━" in seen
    assert "shard" in seen or "of 60 images" in seen
    assert seen.rfind(SHOW) > seen.rfind(HIDE) >= 0
    assert [line.split(",")[0] for line in lines_left(seen) if ": " in line] == [
        "fit: 60 images",
        "materialize: 60 images",
    ]


def test_an_interrupt_leaves_the_terminal_as_it_was(tmp_path):
    seen = on_a_terminal(str(tmp_path / "m.zarr"), "interrupt")
    assert seen.rfind(SHOW) > seen.rfind(HIDE) >= 0
    assert "materialize: interrupted after" in seen
    assert "at 30 of 60 images (50%)" in seen
    assert "KeyboardInterrupt" in seen


def test_a_terminal_that_can_do_nothing_is_treated_as_a_log(tmp_path):
    seen = on_a_terminal(str(tmp_path / "m.zarr"), "finish", TERM="dumb")
    assert "\x1b" not in seen
    assert "materialize: 60 images" in seen


def test_a_log_in_colour_is_a_log(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    ImageDataGenerator(featurewise_center=True).fit(np.array(X), progress=True)
    assert "\x1b" not in capsys.readouterr().err
