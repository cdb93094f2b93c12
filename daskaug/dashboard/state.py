"""What the page knows: told by workers and clients, bounded, and never trusted."""

from __future__ import annotations

import collections
import dataclasses
import math
import unicodedata
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from daskaug.stages import STAGES

HANDLER = "daskaug_tell"
"""The scheduler's handler that is told things."""

SETTING = "daskaug.dashboard"
"""In dask's configuration; false: no page, and nothing is measured for it."""

TRANSFER = "transfer"
"""The stage between processes: what workers send to each other and to clients."""

ALL_STAGES = (*STAGES, TRANSFER)

MOST_JOBS = 12
MOST_PICTURES = 24
MOST_PICTURE_NBYTES = 10_000
MOST_CONSUMERS = 16
MOST_LETTERS = 200
HISTORY_SECONDS = 600
"""Samples that are kept, one a second."""

MOST_RUNNING = 240
"""Points of a fit's running mean that are kept; every second one is dropped when there are more."""

MOST_CHANNELS = 4
MOST_ENDED = 256
"""Jobs that are known to be over, whether or not they are still shown."""

WINDOW_SECONDS = 5.0
"""Rates are those of so many seconds."""

LONGEST_WINDOW_SECONDS = 60.0
"""Of whoever tells seldom; after that nothing seems to be done any more."""

_PNG = b"\x89PNG\r\n\x1a\n"
_DIRECTIONS = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def plain(text: Any) -> str:
    """A name as one short line: no control characters, and none that turns the direction of writing."""
    begin = str(text)[: 2 * MOST_LETTERS].translate(_DIRECTIONS)
    shown = (" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in begin)
    line = " ".join("".join(shown).split())
    return line if len(line) <= MOST_LETTERS else line[: MOST_LETTERS - 1] + "…"


class Counter:
    """Something that only grows, and how fast it does.

    Parameters
    ----------
    window : float
        Seconds that the rate is taken over.
    """

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        self._window = window
        self._points: collections.deque[tuple[float, float]] = collections.deque(maxlen=64)

    @property
    def value(self) -> float:
        """The last one."""
        return self._points[-1][1] if self._points else 0.0

    def set(self, now: float, value: float, age: float = 0.0) -> None:
        """It is so much at this time, and was nothing `age` seconds ago; less if whoever counts has begun anew."""
        last = self.value
        if value < last:
            if value > 0.9 * last:  # an estimate of what was under way was a little too high
                value = last
            else:
                self._points.clear()
        if not self._points:
            self._points.append((now - age, 0.0))
        self._points.append((now, value))

    def rate(self, now: float) -> float:
        """Growth per second, until now."""
        points = self._points
        if len(points) < 2:
            return 0.0
        newest, value = points[-1]
        # Whoever tells seldom is looked at over a longer time.
        window, gap = self._window, newest - points[-2][0]
        if 2.0 * gap > window:
            window = max(window, min(2.0 * gap, LONGEST_WINDOW_SECONDS))
        since = now - window
        if newest <= since or not value:
            return 0.0
        for before in reversed(points):  # what is wanted is near the end
            if before[0] <= since:
                break
        return max(0.0, value - before[1]) / max(now - max(before[0], since), 1.0)


@dataclasses.dataclass
class Worker:
    """A worker, or a consumer that works for itself.

    Attributes
    ----------
    name : str
    threads : int
    tasks : int
    client : str
        Of a consumer; otherwise empty.
    seconds, images, nbytes : dict of str to Counter
        By stage.
    """

    name: str
    threads: int = 1
    tasks: int = 0
    client: str = ""
    seconds: dict[str, Counter] = dataclasses.field(default_factory=lambda: {name: Counter() for name in ALL_STAGES})
    images: dict[str, Counter] = dataclasses.field(default_factory=lambda: {name: Counter() for name in ALL_STAGES})
    nbytes: dict[str, Counter] = dataclasses.field(default_factory=lambda: {name: Counter() for name in ALL_STAGES})

    def take(self, now: float, told: Mapping[str, Any]) -> None:
        """Take over what it says of itself."""
        self.tasks = int(told.get("tasks", 0))
        age = max(0.0, _number(told.get("age", 0.0)))
        for name, amounts in dict(told.get("stages", {})).items():
            if name in ALL_STAGES:
                seconds, images, nbytes = (_number(each) for each in amounts)
                self.seconds[name].set(now, seconds, age)
                self.images[name].set(now, images, age)
                self.nbytes[name].set(now, nbytes, age)

    def images_per_second(self, now: float) -> float:
        """Of its busiest stage: an image that is read and transformed counts once."""
        return max(counter.rate(now) for counter in self.images.values())


@dataclasses.dataclass
class Job:
    """A fit, a materialisation, or an iterator that is being consumed.

    Attributes
    ----------
    kind : str
    name : str
        What it is about: a store, a source.
    client : str
    began : float
    state : {"running", "done", "stopped", "failed", "gone"}
    done, total : int
        Images; of the current epoch where there are several.
    epoch : int or None
    handed : Counter
        Images of all epochs.
    waited : Counter or None
        Seconds that the consumer waited.
    running : list of (images, mean, half-width)
        Of a fit; half-widths are None where there is no interval.
    ended : float or None
    """

    kind: str
    name: str
    client: str
    began: float
    state: str = "running"
    done: int = 0
    total: int = 0
    epoch: int | None = None
    handed: Counter = dataclasses.field(default_factory=Counter)
    waited: Counter | None = None
    running: list[tuple[int, list[float], list[float] | None]] = dataclasses.field(default_factory=list)
    ended: float | None = None

    def take(self, now: float, told: Mapping[str, Any]) -> None:
        """Take over what its client says."""
        self.done, self.total = int(_number(told.get("done", 0))), int(_number(told.get("total", 0)))
        self.handed.set(now, _number(told.get("handed", self.done)))
        if told.get("epoch") is not None:
            self.epoch = int(told["epoch"])
        if told.get("waited") is not None:
            self.waited = self.waited or Counter()
            self.waited.set(now, _number(told["waited"]))
        if told.get("mean") is not None:
            self._add_running(told)
        state = plain(told.get("state", "running"))
        if state == "running":
            self.ended = None  # its client had only lost its connection
        elif self.ended is None:
            self.ended = now
        self.state = state

    def _add_running(self, told: Mapping[str, Any]) -> None:
        mean = [_number(each) for each in list(told["mean"])[:MOST_CHANNELS]]
        half = told.get("half")
        if self.running and self.running[-1][0] == self.done:
            self.running.pop()
        self.running.append(
            (self.done, mean, None if half is None else [_number(each) for each in list(half)[:MOST_CHANNELS]])
        )
        if len(self.running) > MOST_RUNNING:
            self.running = self.running[1::2]

    def rate(self, now: float) -> float:
        """Images per second: of the last seconds while it runs, of all of it afterwards."""
        if self.ended is None:
            return self.handed.rate(now)
        return self.handed.value / max(1e-3, self.ended - self.began)

    def share_waited(self, now: float) -> float | None:
        """Of the last seconds, 0 to 1; None where nobody waits batch by batch."""
        if self.waited is None:
            return None
        return min(1.0, self.waited.rate(now))

    def seconds_left(self, now: float) -> float | None:
        """At the rate since it began, and of the last seconds, whichever is known; None where neither is."""
        if self.ended is not None or not self.total:
            return None
        rate = self.rate(now) or self.handed.value / max(1e-3, now - self.began)
        return (self.total - self.done) / rate if rate > 0 else None


@dataclasses.dataclass(frozen=True)
class Shown:
    """A picture of the contact sheet."""

    png: bytes
    sample: int
    epoch: int
    worker: str
    time: float


@dataclasses.dataclass(frozen=True)
class Sample:
    """How things stood at one second.

    Attributes
    ----------
    time : float
        Seconds since 1970.
    images : float
        Images per second of all jobs.
    waited : float
        Share of time, 0 to 1; nan where nobody waits.
    stages : tuple of float
        Threads that were at each of :data:`ALL_STAGES`, on average.
    workers : dict of str to float
        Images per second by name.
    """

    time: float
    images: float
    waited: float
    stages: tuple[float, ...]
    workers: dict[str, float]

    @property
    def is_busy(self) -> bool:
        """Whether anything was done, or waited for, in the seconds before it."""
        return bool(self.images or self.waited > 0 or any(self.stages) or any(self.workers.values()))


class State:
    """All that is known on a scheduler."""

    def __init__(self) -> None:
        self.jobs: collections.OrderedDict[str, Job] = collections.OrderedDict()
        self.workers: dict[str, Worker] = {}
        self.pictures: collections.deque[Shown] = collections.deque(maxlen=MOST_PICTURES)
        self.history: collections.deque[Sample] = collections.deque(maxlen=HISTORY_SECONDS)
        self.samples = 0
        """Taken so far, also those that are not kept any more."""
        self.left = Worker("workers that have left")
        """Totals of workers that are gone."""
        self._ended: collections.deque[str] = collections.deque(maxlen=MOST_ENDED)
        self._has_news = True

    def tell(self, now: float, told: Mapping[str, Any]) -> None:
        """Take over a message.

        Parameters
        ----------
        now : float
            Seconds since 1970.
        told : mapping
            Of a worker (``what="worker"``) or of a job (``what="job"``); see :mod:`daskaug.execution.metrics` and
            :mod:`daskaug.execution.following`.

        Raises
        ------
        ValueError, TypeError, KeyError
            For anything else.
        """
        self._has_news = True
        if told["what"] == "worker":
            name = plain(told["name"])
            worker = self.workers.setdefault(str(told["address"])[:MOST_LETTERS], Worker(name))
            worker.threads = max(1, int(told.get("threads", 1)))
            worker.take(now, told)
            self._show(now, told.get("picture"), name)
        elif told["what"] == "job":
            self._tell_job(now, told)
        else:
            raise ValueError(told["what"])

    def _tell_job(self, now: float, told: Mapping[str, Any]) -> None:
        key = str(told["id"])[:MOST_LETTERS]
        if key in self._ended:  # its last message may come twice, or overtake the one before it
            return
        job = self.jobs.get(key)
        if job is None:
            job = Job(plain(told["kind"]), plain(told["name"]), str(told["client"])[:MOST_LETTERS], now)
            job.began -= min(3600.0, max(0.0, _number(told.get("age", 0.0))))
            job.handed.set(job.began, 0.0)
            self.jobs[key] = job
            self._drop_jobs()
        job.take(now, told)
        if told.get("stages"):
            where = f"consumer:{key}"
            if (
                where not in self.workers
                and sum(each.startswith("consumer:") for each in self.workers) < MOST_CONSUMERS
            ):
                self.workers[where] = Worker(plain(f"consumer ({told['kind']})"), client=job.client)
            if where in self.workers:
                self.workers[where].take(now, told)
        if job.ended is not None:
            self._ended.append(key)
            self._leave(f"consumer:{key}")
        self._show(now, told.get("picture"), "consumer")

    def _drop_jobs(self) -> None:
        """Keep a few, and rather those that run."""
        while len(self.jobs) > MOST_JOBS:
            dropped = next((key for key, job in self.jobs.items() if job.ended is not None), next(iter(self.jobs)))
            if self.jobs.pop(dropped).ended is not None:  # what one that runs has done will be told again, all of it
                self._leave(f"consumer:{dropped}")

    def _show(self, now: float, picture: Any, worker: str) -> None:
        if not isinstance(picture, Mapping):
            return
        png = bytes(picture["png"])
        if png.startswith(_PNG) and len(png) <= MOST_PICTURE_NBYTES:
            self.pictures.append(Shown(png, int(picture["sample"]), int(picture["epoch"]), worker, now))

    def remove_worker(self, address: str) -> None:
        """It has left; what it has done counts still."""
        self._has_news = True
        self._leave(address)

    def _leave(self, key: str) -> None:
        worker = self.workers.pop(key, None)
        if worker is None:
            return
        self.left.tasks += worker.tasks
        for kept, gone in (
            (self.left.seconds, worker.seconds), (self.left.images, worker.images), (self.left.nbytes, worker.nbytes)
        ):  # fmt: skip
            for name in ALL_STAGES:
                kept[name].set(0.0, kept[name].value + gone[name].value)

    def remove_client(self, client: str, now: float) -> None:
        """It has gone; so have jobs that it has not said anything more about."""
        self._has_news = True
        for job in self.jobs.values():
            if job.client == client and job.ended is None:
                job.state, job.ended = "gone", now
        for where in [where for where, worker in self.workers.items() if worker.client == client]:
            if where.removeprefix("consumer:") not in self.jobs:
                self._leave(where)

    def sample(self, now: float) -> None:
        """Once a second: note down how things stand."""
        self.samples += 1
        last = self.history[-1] if self.history else None
        if last is not None and not self._has_news and not last.is_busy:  # nor can it be since
            self.history.append(dataclasses.replace(last, time=now))
            return
        self._has_news = False
        running = [job for job in self.jobs.values() if job.ended is None]
        waited = [share for job in running if (share := job.share_waited(now)) is not None]
        rates: dict[str, float] = collections.defaultdict(float)
        for worker in self.workers.values():
            rates[worker.name] += worker.images_per_second(now)
        self.history.append(
            Sample(
                now,
                sum(job.rate(now) for job in running),
                max(waited, default=math.nan),
                tuple(self.threads_at(name, now) for name in ALL_STAGES),
                dict(sorted(rates.items(), key=lambda item: -item[1])[:MOST_CONSUMERS]),
            )
        )

    def threads_at(self, stage: str, now: float) -> float:
        """Threads of all workers that are at a stage, on average over the last seconds."""
        return sum(worker.seconds[stage].rate(now) for worker in self.workers.values())

    def totals(self, stage: str) -> tuple[float, int, int]:
        """Seconds, images and decoded bytes of a stage, since the scheduler began."""
        everybody: Iterable[Worker] = (self.left, *self.workers.values())
        found = [(w.seconds[stage].value, w.images[stage].value, w.nbytes[stage].value) for w in everybody]
        seconds, images, nbytes = (sum(each) for each in zip(*found, strict=True))
        return seconds, int(images), int(nbytes)


def _number(value: Any) -> float:
    """A finite number."""
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{value!r} is not finite")
    return found


_states: weakref.WeakKeyDictionary[Any, State] = weakref.WeakKeyDictionary()


def state_of(scheduler: Any) -> State:
    """What is known on a scheduler; at first nothing."""
    found = _states.get(scheduler)
    if found is None:
        found = _states[scheduler] = State()
    return found
