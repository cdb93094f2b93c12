"""The page's text as HTML. Every name in it is somebody else's, and escaped."""

from __future__ import annotations

import base64
import html
from typing import Any

from daskaug.dashboard.state import ALL_STAGES, Job, Shown, State, plain

KINDS = {"fit": "fit", "materialize": "materialise", "flow": "stream"}
STATES = {
    "running": "running",
    "done": "done",
    "stopped": "stopped",
    "failed": "failed",
    "gone": "its client has gone",
}

STYLE = """<style>
:host { font: 14px/1.4 system-ui, "DejaVu Sans", sans-serif; color: #263238 }
:host > div { display: block; width: 100% }
.tiles { display: flex; flex-wrap: wrap; gap: 12px }
.tile { flex: 1 1 130px; background: #f6f8fa; border: 1px solid #e1e5ea; border-radius: 8px; padding: 8px 14px }
.tile b { display: block; font-size: 26px; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap }
.tile span { color: #546e7a }
table { width: 100%; border-collapse: collapse; table-layout: fixed }
th { text-align: left; font-weight: 600; color: #546e7a; border-bottom: 1px solid #cfd8dc; padding: 3px 10px 3px 0 }
td { padding: 5px 10px 5px 0; border-bottom: 1px solid #eceff1; overflow: hidden; text-overflow: ellipsis;
     white-space: nowrap; font-variant-numeric: tabular-nums }
.job { width: 12% } .what { width: 26% } .bar { width: 14% } .count { width: 17% } .time { width: 15% }
.track { background: #e4e8ec; border-radius: 5px; height: 10px; overflow: hidden }
.track div { background: #f58518; height: 10px } .done .track div { background: #54a24b }
.failed .track div, .stopped .track div, .gone .track div { background: #b0bec5 }
.nothing { color: #78909c; padding: 4px 0 }
h3 { margin: 0; font-size: 15px; font-weight: 600 }
</style>"""

PICTURE_STYLE = """<style>
figure { margin: 0; width: 88px; font: 10px/1.3 system-ui, "DejaVu Sans", sans-serif; color: #546e7a }
img { width: 88px; height: 88px; object-fit: contain; image-rendering: pixelated; background: #eceff1;
      border-radius: 4px; display: block }
figcaption div { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
</style>"""


def escaped(text: Any) -> str:
    """Somebody's text as HTML that shows it, whatever direction it is written in."""
    return f"<bdi>{html.escape(plain(text))}</bdi>"


def headline(state: State, now: float) -> str:
    """The numbers at the top."""
    running = [job for job in state.jobs.values() if job.ended is None]
    waited = [share for job in running if (share := job.share_waited(now)) is not None]
    rate = sum(job.rate(now) for job in running)
    done = sum(job.handed.value for job in state.jobs.values())
    at_work = sum(counter.rate(now) for worker in state.workers.values() for counter in worker.seconds.values())
    threads = sum(worker.threads for worker in state.workers.values())
    tiles = [
        ("rate", f"{rate:,.0f}", "images per second"),
        ("done", f"{done:,.0f}", "images, of all jobs below"),
        ("waited", f"{100 * max(waited):.0f} %" if waited else "–", "of its time the consumer waits"),
        ("threads", f"{min(at_work, threads):.1f} of {threads}", "threads at work"),
    ]
    cells = (
        f'<div class="tile"><b data-value="{key}">{value}</b><span>{about}</span></div>' for key, value, about in tiles
    )
    return f'{STYLE}<div class="tiles">{"".join(cells)}</div>'


def jobs(state: State, now: float) -> str:
    """A table of the jobs, the newest first."""
    rows = "".join(_job(job, now) for job in reversed(state.jobs.values()))
    if not rows:
        return f'{STYLE}<div class="nothing">No job yet: fit, flow and materialize show up here.</div>'
    head = (
        '<tr><th class="job">job</th><th class="what">of</th><th class="bar">progress</th><th class="count">images</th>'
        '<th>images/s</th><th class="time">time</th><th>state</th></tr>'
    )
    return f"{STYLE}<table>{head}{rows}</table>"


def _job(job: Job, now: float) -> str:
    share = min(1.0, job.done / job.total) if job.total else 0.0
    epoch = "" if job.epoch is None else f", epoch {job.epoch}"
    left = job.seconds_left(now)
    elapsed = (job.ended or now) - job.began
    time = duration(elapsed) if left is None else f"{duration(elapsed)}, {duration(left)} left"
    kind = html.escape(KINDS.get(job.kind, plain(job.kind)))
    state = STATES.get(job.state, "?")
    name = escaped(job.name)
    return (
        f'<tr class="{job.state if job.state in STATES else "gone"}" data-job="{html.escape(plain(job.kind))}">'
        f'<td>{kind}{epoch}</td><td class="what" title="{html.escape(plain(job.name))}">{name}</td>'
        f'<td class="bar"><div class="track"><div style="width: {100 * share:.1f}%"></div></div></td>'
        f'<td><span data-value="job-done">{job.done:,}</span> of <span data-value="job-total">{job.total:,}</span></td>'
        f'<td>{job.rate(now):,.0f}</td><td>{time}</td><td data-value="job-state">{state}</td></tr>'
    )


def duration(seconds: float) -> str:
    """Like ``45 s``, ``3:07 min`` or ``2:05 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


def picture(shown: Shown) -> str:
    """One of the contact sheet."""
    data = base64.b64encode(shown.png).decode("ascii")
    about = f"sample {shown.sample}"
    return (
        f'{PICTURE_STYLE}<figure><img alt="{about}" data-sample="{shown.sample}" data-epoch="{shown.epoch}" '
        f'src="data:image/png;base64,{data}"><figcaption><div>{about}</div>'
        f"<div>epoch {shown.epoch} · {escaped(shown.worker)}</div></figcaption></figure>"
    )


def title(text: str) -> str:
    """Above a part of the page."""
    return f"{STYLE}<h3>{html.escape(text)}</h3>"


def totals(state: State) -> str:
    """Under the workers: what all of them have done since the scheduler began."""
    cells = []
    for stage in ALL_STAGES:
        seconds, images, nbytes = state.totals(stage)
        if not seconds:
            continue
        each = f"{1e3 * seconds / images:.2f} ms" if images else ""
        count = f'<span data-value="images-{stage}">{images:,}</span>' if images else ""
        shown = (stage, count, f"{nbytes / 1e6:,.1f} MB", f"{seconds:,.1f} s", each)
        cells.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in shown)}</tr>")
    if not cells:
        return f'{STYLE}<div class="nothing">No task has told anything yet.</div>'
    head = "<tr><th>stage</th><th>images</th><th>decoded</th><th>thread time</th><th>per image</th></tr>"
    return f"{STYLE}<table>{head}{''.join(cells)}</table>"


def on_canvas(text: str, letters: int = 24) -> str:
    """A name to be drawn in a figure: cut short, and without what Bokeh would set as a formula."""
    short = plain(text)
    short = short if len(short) <= letters else short[: letters - 1] + "…"
    return short.replace("$$", "$\u200b$").replace("\\", "\\\u200b")
