"""The page itself. Imported only where Bokeh is, which is on schedulers with a dashboard."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

from bokeh.core.properties import without_property_validation
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, DataRange1d, Div, FactorRange, NumeralTickFormatter, Range1d
from bokeh.plotting import figure
from distributed.dashboard.components import add_periodic_callback
from distributed.dashboard.components.scheduler import BOKEH_THEME, env

from daskaug.dashboard import markup
from daskaug.dashboard.state import ALL_STAGES, MOST_CHANNELS, MOST_PICTURES, State, state_of

UPDATE_MILLISECONDS = 500
MOST_LINES = 8
MOST_BARS = 16
SHOWN_SECONDS = 180
"""Of the history, at first; one can scroll back."""

STAGE_COLORS = ("#4c78a8", "#72b7b2", "#f58518", "#e45756", "#54a24b", "#b279a2")
LINE_COLORS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#bab0ac")
_TOOLS = "xpan,xwheel_zoom,reset"


class Page:
    """A component as distributed's own are: a `root` to show, and `update`.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._seen = -1
        self._headline = _div("daskaug_headline")
        self._jobs = _div("daskaug_jobs")
        self._totals = _div("daskaug_totals", min_width=380)
        self._rates, self._stages, self._workers = _Rates(), _Stages(), _Workers()
        self._running, self._sheet = _Running(), _Sheet()
        wrapped = {"flex-wrap": "wrap"}
        self.root = column(
            self._headline,
            self._jobs,
            row(self._rates.root, self._stages.root, sizing_mode="stretch_width", styles=wrapped),
            row(self._workers.root, self._running.root, self._totals, sizing_mode="stretch_width", styles=wrapped),
            self._sheet.root,
            sizing_mode="stretch_width",
            styles={"max-width": "1500px", "padding": "10px", "box-sizing": "border-box"},
            spacing=12,
        )

    @without_property_validation  # type: ignore[untyped-decorator]
    def update(self) -> None:
        """Show how things stand; called twice a second for everybody who looks at the page."""
        state, now = self._state, time.time()
        _show(self._headline, markup.headline(state, now))
        _show(self._jobs, markup.jobs(state, now))
        _show(self._totals, markup.totals(state))
        if state.samples != self._seen:
            self._seen = state.samples
            self._rates.update(state)
            self._stages.update(state)
            self._workers.update(state, now)
            self._running.update(state)
        self._sheet.update(state)


def _div(name: str, **options: Any) -> Div:
    return Div(text="", name=name, disable_math=True, sizing_mode="stretch_width", **options)


def _show(div: Div, text: str) -> None:
    if div.text != text:
        div.text = text


def _figure(title: str, x: str, y: str, **options: Any) -> Any:
    made = figure(
        title=title,
        height=260,
        min_width=380,
        sizing_mode="stretch_width",
        tools=_TOOLS,
        active_drag=None,
        **options,
    )
    made.xaxis.axis_label, made.yaxis.axis_label = x, y
    for axis in made.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_line_color = "#90a4ae"
        axis.minor_tick_line_color = None
    made.title.text_font_size = "15px"
    made.grid.grid_line_color = "#eceff1"
    made.toolbar.autohide = True
    made.outline_line_color = None
    return made


def _over_time(title: str, y: str) -> Any:
    follow = DataRange1d(
        follow="end", follow_interval=SHOWN_SECONDS * 1000, default_span=60_000, range_padding=0, only_visible=True
    )
    made = _figure(title, "time", y, x_axis_type="datetime", x_range=follow, y_range=DataRange1d(start=0))
    made.yaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
    return made


def _legend(made: Any) -> None:
    made.legend.location, made.legend.orientation = "top_left", "horizontal"
    made.legend.label_text_font_size, made.legend.background_fill_alpha = "11px", 0.6
    made.legend.border_line_color, made.legend.padding, made.legend.margin = None, 3, 3
    made.legend.glyph_width = 14


class _Rates:
    """Images per second, of all jobs and of the workers that do most."""

    def __init__(self) -> None:
        self._all = ColumnDataSource({"time": [], "images": []})
        self._each = ColumnDataSource({"xs": [], "ys": [], "name": [], "color": []})
        self.root = _over_time("Images per second", "images/s")
        self.root.multi_line("xs", "ys", source=self._each, color="color", legend_field="name", line_width=1.5)
        self.root.line(
            "time", "images", source=self._all, color="#263238", line_width=2.5, legend_label="jobs, together"
        )
        _legend(self.root)

    def update(self, state: State) -> None:
        times = [1e3 * sample.time for sample in state.history]
        self._all.data = {"time": times, "images": [sample.images for sample in state.history]}
        recent = itertools.islice(reversed(state.history), SHOWN_SECONDS)
        busiest: dict[str, float] = {}
        for sample in recent:
            for name, rate in sample.workers.items():
                busiest[name] = busiest.get(name, 0.0) + rate
        names = sorted(sorted(busiest, key=lambda name: -busiest[name])[:MOST_LINES])
        self._each.data = {
            "xs": [times for _ in names],
            "ys": [[sample.workers.get(name, math.nan) for sample in state.history] for name in names],
            "name": [markup.on_canvas(f"worker {name}", 20) for name in names],
            "color": list(LINE_COLORS[: len(names)]),
        }


class _Stages:
    """What the threads of all workers are at."""

    def __init__(self) -> None:
        self._source = ColumnDataSource({"time": [], **{name: [] for name in ALL_STAGES}})
        self.root = _over_time("What threads are at", "threads")
        self.root.varea_stack(
            list(ALL_STAGES), x="time", color=STAGE_COLORS, legend_label=list(ALL_STAGES), source=self._source
        )
        _legend(self.root)

    def update(self, state: State) -> None:
        columns = zip(*(sample.stages for sample in state.history), strict=True)
        self._source.data = {
            "time": [1e3 * sample.time for sample in state.history],
            **dict(zip(ALL_STAGES, map(list, columns), strict=True)),
        }


class _Workers:
    """What each worker is at now, and how many images go through it."""

    def __init__(self) -> None:
        empty: dict[str, list[Any]] = {"name": [], "end": [], "text": [], **{name: [] for name in ALL_STAGES}}
        self._source = ColumnDataSource(empty)
        self._range = Range1d(0, 1)
        self.root = _figure(
            "Workers, over the last seconds",
            "threads at work",
            "worker",
            x_range=self._range,
            y_range=FactorRange(factors=[]),
        )
        self.root.hbar_stack(
            list(ALL_STAGES), y="name", height=0.7, color=STAGE_COLORS, source=self._source, line_color=None
        )
        self.root.text(
            "end", "name", "text", source=self._source, x_offset=6, text_baseline="middle", text_font_size="11px",
            text_color="#263238",
        )  # fmt: skip

    def update(self, state: State, now: float) -> None:
        workers = list(state.workers.values())
        workers.sort(key=lambda worker: -worker.images_per_second(now))
        shown = sorted(workers[:MOST_BARS], key=lambda worker: worker.name, reverse=True)
        names = _distinct([markup.on_canvas(worker.name) for worker in shown])
        bars = {name: [worker.seconds[name].rate(now) for worker in shown] for name in ALL_STAGES}
        ends = [sum(values) for values in zip(*bars.values(), strict=True)]
        self._source.data = {
            "name": names,
            "end": ends,
            "text": [f"{worker.images_per_second(now):,.0f} images/s" for worker in shown],
            **bars,
        }
        self.root.y_range.factors = names
        self.root.visible = bool(names)
        self.root.height = 90 + 34 * max(3, len(names))
        self._range.end = 1.3 * max([1.0, *(float(worker.threads) for worker in shown), *ends])


def _distinct(names: list[str]) -> list[str]:
    """Names that were cut short may be the same."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return made


class _Running:
    """Mean of a fit so far, and how near it is to that of all images where that is known."""

    def __init__(self) -> None:
        self._sources = [ColumnDataSource({"n": [], "mean": [], "low": [], "high": []}) for _ in range(MOST_CHANNELS)]
        self._x, self._y = Range1d(0, 1), Range1d(0, 1)
        self.root = _figure(
            "Mean of the newest fit, so far", "images", "mean, as stored", x_range=self._x, y_range=self._y
        )
        self.root.xaxis.formatter = NumeralTickFormatter(format="0,0")
        for channel, (source, color) in enumerate(zip(self._sources, LINE_COLORS, strict=False)):
            self.root.varea("n", "low", "high", source=source, color=color, alpha=0.2)
            self.root.line("n", "mean", source=source, color=color, line_width=2, legend_label=f"channel {channel}")
            self.root.scatter("n", "mean", source=source, color=color, size=5)
        _legend(self.root)
        self.root.visible = False

    def update(self, state: State) -> None:
        job = next((job for job in reversed(state.jobs.values()) if job.running), None)
        self.root.visible = job is not None
        points = [] if job is None else job.running
        values = [
            value + sign * half
            for _, mean, halves in points
            for value, half in zip(mean, halves or [0.0] * len(mean), strict=False)
            for sign in (-1, 1)
        ]
        if job is not None:
            margin = 0.05 * (max(values) - min(values)) or 1.0
            self._x.end = max(job.total, points[-1][0], 1)
            self._y.start, self._y.end = min(values) - margin, max(values) + 3 * margin  # room for the legend
        for channel, source in enumerate(self._sources):
            own = [(n, mean[channel], half and half[channel]) for n, mean, half in points if channel < len(mean)]
            source.data = {
                "n": [n for n, _, _ in own],
                "mean": [mean for _, mean, _ in own],
                "low": [mean - (half or 0.0) for _, mean, half in own],
                "high": [mean + (half or 0.0) for _, mean, half in own],
            }
        for channel, item in enumerate(self.root.legend.items):
            item.visible = bool(self._sources[channel].data["n"])


class _Sheet:
    """The last images that were made; a new one takes the place of the oldest, and the others stay where they are."""

    def __init__(self) -> None:
        self._places = [Div(text="", disable_math=True, width=92, visible=False) for _ in range(MOST_PICTURES)]
        self._title = Div(text=markup.title("What the workers are making"), visible=False, disable_math=True)
        self._shown: list[Any] = [None] * MOST_PICTURES
        places = row(*self._places, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}, spacing=8)
        self.root = column(self._title, places, sizing_mode="stretch_width", name="daskaug_sheet")

    def update(self, state: State) -> None:
        pictures = list(state.pictures)
        wanted = set(map(id, pictures))
        there = {id(shown) for shown in self._shown}
        free = [place for place, shown in enumerate(self._shown) if id(shown) not in wanted]
        new = [picture for picture in pictures if id(picture) not in there]
        for place, picture in zip(free, new, strict=False):
            self._shown[place] = picture
            self._places[place].text = markup.picture(picture)
            self._places[place].visible = True
        self._title.visible = bool(pictures)


def document(scheduler: Any, extra: dict[str, Any], doc: Any) -> None:
    """Fill a document with the page, in the dashboard's frame."""
    _fill(scheduler, doc)
    doc.template = env.get_template("simple.html")
    doc.template_variables.update(extra)


def individual_document(scheduler: Any, extra: dict[str, Any], doc: Any) -> None:
    """Fill a document with the page alone, for a pane of JupyterLab."""
    _fill(scheduler, doc)


def _fill(scheduler: Any, doc: Any) -> None:
    page = Page(state_of(scheduler))
    page.update()
    add_periodic_callback(doc, page, UPDATE_MILLISECONDS)
    doc.title = "Dask: daskaug"
    doc.add_root(page.root)
    doc.theme = BOKEH_THEME


def documents() -> dict[str, Callable[..., None]]:
    """What a dashboard serves, by path."""
    return {"/daskaug": document, "/individual-daskaug": individual_document}
