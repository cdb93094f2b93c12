"""A pass over blocks that merges what the tasks return, can stop early, and can go on where another one was killed."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.execution.executor import Executor, run_ordered
from daskaug.execution.executor import Task as Task
from daskaug.execution.following import NOBODY, Follower, followed
from daskaug.planning.coverage import Coverage
from daskaug.progress import Tell
from daskaug.statistics import Partial, StatisticsRecipe
from daskaug.statistics import checkpoint as checkpoints
from daskaug.statistics.interval import BlockSpread, Interval

CHECKPOINT_SECONDS = 5.0
"""A checkpoint is written when the last one is older, and at the end."""

CHECKPOINT_NBYTES = 32 * 2**20
"""Bytes of a Gram matrix that may be written so often. For a larger one the time is longer in proportion, so that
writing takes a few percent of the time of the fit, and a fit that is killed has to repeat more of its work."""

TELL_SECONDS = 1.0
"""A follower is told the mean no more often than this."""


@dataclasses.dataclass(frozen=True, eq=False)
class Running:
    """How far a fit is.

    Attributes
    ----------
    samples, of_samples : int
        Images done, and images in all.
    mean, std : (c,) float64
        Of those done, before rescaling.
    interval : Interval or None
        How near they are to those of all, where blocks are read in random order and enough of them have been.
    """

    samples: int
    of_samples: int
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    interval: Interval | None


@dataclasses.dataclass(frozen=True, eq=False)
class Pass:
    """What to read and when to stop.

    Attributes
    ----------
    ranges : iterable of (start, stop)
        Blocks of samples, by their indices, in the order of reading.
    blocks : int
        How many they are.
    make_task : callable
        ``(start, stop) -> task`` for any samples of one block.
    samples : int
        Images in all.
    tolerance : float or None
        Stop when the half-widths of the intervals of mean and standard deviation are at most this many standard
        deviations; the ranges must be in random order.
    checkpoint : Path or None
        Written every :data:`CHECKPOINT_SECONDS`, or where a Gram matrix is larger than :data:`CHECKPOINT_NBYTES` less
        often.
    contract : mapping
        What a checkpoint must agree with.
    progress : callable or None
        ``progress(images done, images in all)``.
    monitor : callable or None
        ``monitor(running)``.
    name : str
        What is read, for people.
    passes : int
        How many such passes `samples` are the images of.
    """

    ranges: Iterable[tuple[int, int]]
    blocks: int
    make_task: Callable[[int, int], Task]
    samples: int
    tolerance: float | None = None
    checkpoint: Path | None = None
    contract: checkpoints.Contract = dataclasses.field(default_factory=dict)
    progress: Tell | None = None
    monitor: Callable[[Running], None] | None = None
    name: str = ""
    passes: int = 1


def reduce_blocks(
    executor: Executor, function: Callable[..., Any], recipe: StatisticsRecipe, job: Pass, *, window: int | None = None
) -> tuple[Partial, Interval | None]:
    """Run a pass.

    Parameters
    ----------
    executor : Executor
    function : callable
        Body of the tasks, to a :class:`~daskaug.statistics.Partial`.
    recipe : StatisticsRecipe
    job : Pass
    window : int, optional
        As for :func:`daskaug.execution.run_ordered`.

    Returns
    -------
    partial : Partial
        Of everything that was read.
    interval : Interval or None
        Where the pass stopped early.

    Raises
    ------
    StoreError
        The checkpoint belongs to another fit, or is damaged.
    """
    saving = _Saving(job)
    total, done = saving.begin(recipe)
    issued: collections.deque[tuple[int, int]] = collections.deque()
    seen = Coverage(done)

    def tasks() -> Iterator[Task]:
        for start, stop in job.ranges:
            for part in seen.missing(start, stop):
                issued.append(part)
                yield job.make_task(*part)

    spread = BlockSpread()
    partials = run_ordered(executor, function, tasks(), name="daskaug-fit", window=window)
    of_samples = job.samples // job.passes
    with followed(executor.follow("fit", job.name, of_samples)) as follower, contextlib.closing(partials):
        telling = _Telling(follower)
        for partial in partials:
            total = recipe.merge(total, partial)
            done.add(*issued.popleft())
            saving.after(total, done)
            if job.progress is not None:
                job.progress(total.samples, job.samples)
            interval = _watched(job, spread, partial, total.samples, telling)
            telling.after(total, is_last=interval is not None or total.samples == of_samples)
            if interval is not None and total.samples < job.samples:
                return total, interval
    saving.end(total, done)
    return total, None


class _Saving:
    """Keeps the checkpoint of a pass, where it has one."""

    def __init__(self, job: Pass) -> None:
        self._path, self._contract = job.checkpoint, job.contract
        self._saved, self._is_unsaved = time.monotonic(), False

    def begin(self, recipe: StatisticsRecipe) -> tuple[Partial, Coverage]:
        """What is known already, and of which samples."""
        if self._path is None or not self._path.exists():
            return recipe.identity(), Coverage()
        done, total = checkpoints.read(self._path, self._contract)
        return total, done

    def after(self, total: Partial, done: Coverage) -> None:
        """After a block: write, if it is time to."""
        self._is_unsaved = True
        pause = CHECKPOINT_SECONDS * max(1.0, total.gram_nbytes / CHECKPOINT_NBYTES)
        if self._path is not None and time.monotonic() - self._saved >= pause:
            self.end(total, done)

    def end(self, total: Partial, done: Coverage) -> None:
        """Write what is not written yet. A full disk is no reason to lose what has been read: the fit goes on."""
        if self._path is None or not self._is_unsaved:
            return
        self._saved = time.monotonic()
        try:
            checkpoints.write(self._path, self._contract, done, total)
        except OSError as error:
            warnings.warn(
                f"The checkpoint {str(self._path)!r} could not be written: {error}. The fit goes on, and tries again "
                "later; the file stays as it was. Make space there, lest more work is lost if the fit is killed.",
                UserWarning,
                stacklevel=2,
            )
        else:
            self._is_unsaved = False


def _watched(job: Pass, spread: BlockSpread, partial: Partial, samples: int, telling: _Telling) -> Interval | None:
    """Tell the monitor; the interval, if it is narrow enough to stop."""
    if job.tolerance is None and job.monitor is None:
        return None
    try:
        spread.add(partial.moments.finalise())
    except SourceError:  # no pixel that counts, or one that is not finite: that is reported at the end
        return None
    interval = spread.interval(job.blocks) if job.tolerance is not None else None
    telling.interval = interval
    if job.monitor is not None:
        job.monitor(Running(samples, job.samples, spread.mean, spread.std, interval))
    if job.tolerance is None or interval is None:
        return None
    widest = job.tolerance * spread.std
    return interval if (interval.mean <= widest).all() and (interval.std <= widest).all() else None


class _Telling:
    """Tells a follower how far a pass is, and once a second the mean so far.

    Attributes
    ----------
    interval : Interval or None
        How near that is, where it is known.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._last = -TELL_SECONDS
        self.interval: Interval | None = None

    def after(self, total: Partial, *, is_last: bool) -> None:
        """After a block."""
        if self._follower is NOBODY:
            return
        facts: dict[str, Any] = {"done": total.samples}
        if is_last or time.monotonic() - self._last >= TELL_SECONDS:
            self._last = time.monotonic()
            with contextlib.suppress(SourceError):  # see above
                facts["mean"] = total.moments.finalise().mean.tolist()
                facts["half"] = None if self.interval is None else self.interval.mean.tolist()
        self._follower.tell(**facts)
