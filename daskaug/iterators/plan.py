"""What an epoch of an iterator comes to, told before it is run."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.cards import Fact, Told
from daskaug.planning.block_cache import BlockLayout, bytes_read
from daskaug.planning.order import Shuffle
from daskaug.planning.steps import Shard

_STREAM_BATCHES = 3
"""Of Purpose.ORDER: an order of batches, to see what asking for them at random costs. Nothing else hangs on it."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is read of a source, or of several, for the rows that are used.

    Attributes
    ----------
    used_nbytes : int
        Decoded bytes of those rows.
    in_order, at_random : int or None
        Decoded bytes that are read when the batches are asked for one after the other, and in a random order. None
        where it is not known.
    kept_nbytes : int
        Decoded bytes that are kept in memory, at most.
    """

    used_nbytes: int
    in_order: int | None
    at_random: int | None
    kept_nbytes: int = 0

    def __add__(self, other: Reading) -> Reading:
        def total(mine: int | None, others: int | None) -> int | None:
            return None if mine is None or others is None else mine + others

        return Reading(
            self.used_nbytes + other.used_nbytes,
            total(self.in_order, other.in_order),
            total(self.at_random, other.at_random),
            self.kept_nbytes + other.kept_nbytes,
        )

    @classmethod
    def exactly(cls, nbytes: int) -> Reading:
        """Of a source whose rows can be read one by one."""
        return cls(nbytes, nbytes, nbytes)

    @classmethod
    def in_blocks(
        cls, layout: BlockLayout, batches: list[NDArray[np.int64]], batches_per_task: int, max_nbytes: int | None
    ) -> Reading:
        """Of a source that is read in blocks.

        Parameters
        ----------
        layout : BlockLayout
        batches : list of (b,) int64
            Rows of the batches, in their order.
        batches_per_task : int
            Batches that one task reads, where they are asked for in their order.
        max_nbytes : int or None
            Of the cache of blocks; None: there is none.
        """
        numbers = np.repeat(np.arange(len(batches)), [len(rows) for rows in batches])
        rows = np.concatenate(batches)
        in_order, kept = bytes_read(layout, layout.look_ups(rows, numbers // batches_per_task), max_nbytes)
        shuffled = seeding.permutation(0, 0, len(batches), _STREAM_BATCHES)
        mixed = np.concatenate([batches[i] for i in shuffled])
        mixed_numbers = np.repeat(np.arange(len(batches)), [len(batches[i]) for i in shuffled])
        at_random, kept_too = bytes_read(layout, layout.look_ups(mixed, mixed_numbers), max_nbytes)
        return cls(len(rows) * layout.row_nbytes, in_order, at_random, max(kept, kept_too))


@dataclasses.dataclass(frozen=True, repr=False)
class FlowPlan(Told):
    """What an epoch comes to, for one rank.

    Attributes
    ----------
    executor : str
        What runs the tasks.
    transform_on : str
        On a cluster, where batches are transformed; empty without one.
    batches, images, nbytes : int
        Handed out in the epoch; `nbytes` are those of images (and masks).
    batch_size : int
    shard : Shard
    shuffle : Shuffle
    tasks : int
        Tasks at a time.
    batches_per_task : int
    batches_ahead : int
        Batches that are computed, or wait, before they are asked for.
    in_flight_nbytes : int
        What these take at most, with the raw images that tasks work on.
    cached_nbytes : int
        Decoded blocks of a chunked source that are kept at most, in this process.
    held_nbytes : int
        The same on the workers of a cluster, together.
    read_in_order, read_at_random : float or None
        Decoded bytes that are read, per byte that is used, from an empty cache on: where batches are asked for one
        after the other, and in a random order through ``[i]``. They are counted by walking through the epoch's order.
        None where a graph computes the images.
    counted_images : int
        Images of the epoch that were walked through: all of them, if there are not millions.
    shuffle_quality : float
        From 0, the stored order, to 1, a random one: how far neighbours in the epoch are from each other in the data,
        relative to a random order.
    """

    executor: str
    transform_on: str
    batches: int
    images: int
    nbytes: int
    batch_size: int
    shard: Shard
    shuffle: Shuffle
    tasks: int
    batches_per_task: int
    batches_ahead: int
    in_flight_nbytes: int
    cached_nbytes: int
    held_nbytes: int
    read_in_order: float | None
    read_at_random: float | None
    counted_images: int
    shuffle_quality: float

    def _card_facts(self) -> list[Fact]:
        rank = f" for rank {self.shard.rank} of {self.shard.world_size}" if self.shard.world_size > 1 else ""
        blocks = (
            f" ({self.shuffle.unit:,} rows a unit, {self.shuffle.mix} mixed)" if self.shuffle.kind == "block" else ""
        )
        kept = (
            f"{_mb(self.held_nbytes)} held on the workers" if self.held_nbytes else f"{_mb(self.cached_nbytes)} cached"
        )
        ahead = f"{self.batches_ahead:,} batches ahead, {_mb(self.in_flight_nbytes)} in flight and {kept} at most"
        batches = f"{self.batches:,} batches of {self.batch_size:,}{rank}"
        each = f"{self.batches_per_task:,} batches each"
        facts = [
            Fact("epoch", f"{batches}, {self.images:,} images, {_mb(self.nbytes)}"),
            Fact("tasks", f"{self.tasks:,} at a time, {each}, on {self.executor}; {ahead}", ""),
            Fact("reading", f"{self._amplification}"),
            Fact("shuffle", f"{self.shuffle.kind!r}{blocks}, quality {self.shuffle_quality:.2f} of 1"),
        ]
        if self.transform_on:
            facts.append(Fact("transform", self.transform_on, ""))
        return facts

    @property
    def _amplification(self) -> str:
        if self.read_in_order is None or self.read_at_random is None:
            return "bytes are not known, a graph computes the images"
        about = "" if self.counted_images == self.images else "about "
        in_order, at_random = f"{about}{self.read_in_order:.2f}", f"{about}{self.read_at_random:.2f}"
        return f"{in_order} bytes per byte used in order, {at_random} for [i] at random"


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.1f} MB"
