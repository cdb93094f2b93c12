"""Where an iterator stands, in a few numbers that another process can go on from."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

from daskaug.errors import ConfigError, StoreError
from daskaug.iterators.replay import KerasReplay
from daskaug.planning.order import Shuffle
from daskaug.planning.steps import Steps
from daskaug.seeding import SEED_LIMIT, SEEDING_VERSION

STATE_VERSION = 1
"""Of the form of a saved state."""

_NUMBERS = ("version", "seeding_version", "epoch", "position", "seed", "start", "stop")


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far an iterator has come, and through what.

    Attributes
    ----------
    epoch : int
    position : int
        Rows of the epoch's global order that were handed out, on all ranks together.
    seed : int
        The one in force.
    rows : (start, stop)
        What is iterated over, in the whole data.
    shuffle : Shuffle
    data : str or None
        Fingerprint of the data; None where there are none to look at.
    """

    epoch: int
    position: int
    seed: int
    rows: tuple[int, int]
    shuffle: Shuffle
    data: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        state: dict[str, Any] = {
            "version": STATE_VERSION,
            "seeding_version": SEEDING_VERSION,
            "epoch": self.epoch,
            "position": self.position,
            "seed": self.seed,
            "start": self.rows[0],
            "stop": self.rows[1],
            "shuffle": self.shuffle.kind,
        }
        if self.shuffle.kind == "block":
            state |= {"shuffle_unit": int(self.shuffle.unit), "shuffle_mix": int(self.shuffle.mix)}
        return state | {"data": self.data}

    @classmethod
    def from_dict(cls, state: Any) -> Progress:
        """The inverse of :meth:`to_dict`.

        Raises
        ------
        StoreError
            For something else, or a state of another version.
        """
        if not isinstance(state, Mapping):
            raise StoreError(f"A state is the dict that `state_dict()` returned. Received: {type(state).__name__}.")
        for name, known in (("version", STATE_VERSION), ("seeding_version", SEEDING_VERSION)):
            if name in state and state[name] != known:
                raise StoreError(
                    f"The state has the {name} {state[name]!r}, and this release of daskaug goes on from {known} only: "
                    "from another one the rest of the epoch would differ. Use the release that saved it."
                )
        in_blocks = ("shuffle_unit", "shuffle_mix") if state.get("shuffle") == "block" else ()
        missing = [name for name in (*_NUMBERS, "shuffle", "data", *in_blocks) if name not in state]
        bad = [name for name in _NUMBERS if name in state and not is_count(state[name])]
        if missing or bad:
            raise StoreError(
                "This is no state of an iterator, which `state_dict()` returns. "
                f"Missing: {', '.join(missing) or 'nothing'}; not numbers from 0: {', '.join(bad) or 'none'}."
            )
        options = {name.removeprefix("shuffle_"): state[name] for name in in_blocks}
        made = cls(
            epoch=state["epoch"],
            position=state["position"],
            seed=state["seed"],
            rows=(state["start"], state["stop"]),
            shuffle=Shuffle(state["shuffle"], **options),
            data=state["data"],
        )
        if made.position > made.rows[1] - made.rows[0] or max(made.seed, made.epoch) >= SEED_LIMIT:
            raise StoreError(f"This is no state of an iterator; its numbers do not fit each other: {dict(state)}.")
        return made

    def check_goes_on_in(self, current: Progress, *, seed_is_given: bool) -> None:
        """Refuse to go on in an iterator through something else.

        Parameters
        ----------
        current : Progress
            Of the iterator.
        seed_is_given : bool
            Whether the user chose the iterator's seed.

        Raises
        ------
        StoreError
            For other data.
        ConfigError
            For another seed or shuffle.
        """
        if self.rows != current.rows:
            raise StoreError(
                f"The state was saved in rows {self.rows[0]} to {self.rows[1]} of its data, and this iterator goes "
                f"over rows {current.rows[0]} to {current.rows[1]}. Hand in the same images, with the same `subset` "
                "and `validation_split`."
            )
        if self.data != current.data:
            raise StoreError(
                "The state was saved with other data: a few images, their labels or the sample ids differ "
                f"(fingerprint {self.data}, here {current.data}). Hand in the same data, in the same order; or begin a "
                "new run, without this state."
            )
        if described(self.shuffle) != described(current.shuffle):
            raise ConfigError(
                f"The state was saved with {described(self.shuffle)}, and this iterator has "
                f"{described(current.shuffle)}: another order. Pass {described(self.shuffle)} to it."
            )
        if seed_is_given and self.seed != current.seed:
            raise ConfigError(
                f"The state was saved with seed={self.seed}, and this iterator was made with seed={current.seed}. Pass "
                f"seed={self.seed}, or none: then it takes over that of the state."
            )


def described(shuffle: Shuffle) -> str:
    """A shuffle as the user writes it, without what does not count."""
    if shuffle.kind != "block":
        return f'shuffle="{shuffle.kind}"'
    return f'shuffle="block", shuffle_unit={shuffle.unit}, shuffle_mix={shuffle.mix}'


def is_count(value: Any) -> bool:
    """Whether it is an integer from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class Resumable:
    """Saving where an iterator stands, and going on from there.

    Part of :class:`daskaug.iterators.BatchIterator`, which has the counters and the lock.
    """

    n: int
    epoch: int
    batch_index: Any
    seed: int | None
    seed_used: int
    shuffling: Shuffle
    _replay: KerasReplay | None
    _rows: tuple[int, int]
    _served: set[int]
    _whole: Steps
    _rest: tuple[int, Steps] | None
    _orders: dict[int, Any]

    def _usable_lock(self) -> threading.RLock:
        raise NotImplementedError

    def _steps(self, epoch: int) -> Steps:
        raise NotImplementedError

    def _go_to(self, epoch: int, batch_index: int) -> None:
        raise NotImplementedError

    @property
    def _chooses_order(self) -> bool:
        raise NotImplementedError

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where the iterator stands, for :meth:`load_state_dict`: a few JSON values, the same on all ranks.

        Parameters
        ----------
        batches : int, optional
            Batches of the current epoch that are done with. By default those that ``next()`` has handed out. It must be
            told where batches are asked for by number, as by Keras' ``fit``, which asks ahead: only who asks knows
            which of them have been used. In a callback's ``on_train_batch_end(batch, logs)`` it is ``batch + 1``.

        Returns
        -------
        dict
            The first call reads a few images, to know the data by.

        Raises
        ------
        ConfigError
            With ``compat="keras"``, or where a subclass chooses its own order; and where `batches` is needed.
        """
        self._check_can_resume()
        data = self._fingerprint
        with self._usable_lock():
            epoch, done = self.epoch, self.batch_index if batches is None else batches
            if batches is None and self._served:
                raise ConfigError(
                    f"{len(self._served)} batches of this epoch were asked for by number, perhaps ahead of time, so "
                    "that it is not known which of them were used. Pass state_dict(batches=number of those that were)."
                )
            steps = self._steps(epoch)
            if not is_count(done) or done > steps.count:
                raise ConfigError(
                    f"`batches` must be from 0 to {steps.count}, those of this epoch. Received: {done!r}."
                )
            position = steps.position(done)
            if done and done == steps.count:
                epoch, position = epoch + 1, 0
            return Progress(int(epoch), position, self.seed_used, self._rows, self.shuffling, data).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another iterator over the same data was when it made `state`.

        The current epoch is then what was left of that one: ``next()``, ``one_epoch()``, ``len()`` and ``[i]`` (which
        counts from 0 there) go over it, and from then on over whole epochs. Batch size and ranks may be others; with
        the same ones, and the same generator, the batches are those that would have followed, bit for bit.

        Keras' ``fit`` asks for the number of batches once: give what is left of an epoch a call of its own,
        ``fit(iterator, initial_epoch=e, epochs=e + 1, shuffle=False)``.

        Parameters
        ----------
        state : dict
            As :meth:`state_dict` returned it, perhaps by way of JSON. An iterator that was made without a seed takes
            over that of the state.

        Raises
        ------
        StoreError
            For a state of other data or of another release, or that is none.
        ConfigError
            For one of another seed or shuffle; where fewer rows are left than there are ranks; and where
            :meth:`state_dict` raises it.
        """
        self._check_can_resume()
        saved = Progress.from_dict(state)
        current = Progress(0, 0, self.seed_used, self._rows, self.shuffling, self._fingerprint)
        saved.check_goes_on_in(current, seed_is_given=self.seed is not None)
        rest = dataclasses.replace(self._whole, begin=saved.position)
        with self._usable_lock():
            if saved.seed != self.seed_used:
                self._take_seed(saved.seed)
            self._rest = (saved.epoch, rest) if saved.position and rest.count else None
            self._go_to(saved.epoch + (rest.count == 0 and self.n > 0), 0)

    def _check_can_resume(self) -> None:
        if self._replay is not None:
            raise ConfigError(
                'With compat="keras" a batch depends on all that was asked for before it, as in Keras, and no position '
                "tells that. Pickle the iterator instead, or leave compat out."
            )
        if self._chooses_order:
            raise ConfigError(
                f"{type(self).__name__} chooses its order itself, in _set_index_array, so that no seed repeats it. "
                "Leave the order to the iterator (shuffle=, seed=), or pickle it."
            )

    @property
    def _fingerprint(self) -> str | None:
        """Tells the data from others; None where there are none to look at."""
        return None

    def _take_seed(self, seed: int) -> None:
        """Replace the seed in force."""
        self.seed_used = seed
        self._orders = {}
