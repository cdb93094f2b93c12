"""The options of a generator, as attributes, and there and back."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

from numpy.typing import NDArray

from daskaug.cards import BAD, GOOD, Described, Fact, State, number_list, one_line, shape_text
from daskaug.config import Config
from daskaug.statistics import Statistics, Whitening


class _Option:
    """A constructor argument as an attribute that can be read and assigned, checked like the argument itself."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Options | None, owner: type) -> Any:
        return self if instance is None else getattr(instance.config, self._name)

    def __set__(self, instance: Options, value: Any) -> None:
        instance.config = instance.config.replace(**{self._name: value})


class Options(Described):
    """The configuration of a generator; every constructor argument can be read and assigned."""

    def _set_up(self, config: Config) -> None:
        self.config = config
        self.statistics: Statistics | None = None
        self._assigned: dict[str, NDArray[Any] | None] = {}
        self._made_matrix: tuple[Whitening, NDArray[Any]] | None = None
        self._fallback_state = threading.local()

    featurewise_center = _Option()
    samplewise_center = _Option()
    featurewise_std_normalization = _Option()
    samplewise_std_normalization = _Option()
    zca_whitening = _Option()
    zca_epsilon = _Option()
    rotation_range = _Option()
    width_shift_range = _Option()
    height_shift_range = _Option()
    brightness_range = _Option()
    shear_range = _Option()
    zoom_range = _Option()
    channel_shift_range = _Option()
    fill_mode = _Option()
    cval = _Option()
    horizontal_flip = _Option()
    vertical_flip = _Option()
    rescale = _Option()
    preprocessing_function = _Option()
    data_format = _Option()
    validation_split = _Option()
    interpolation_order = _Option()
    dtype = _Option()
    compat = _Option()
    value_range = _Option()
    channel_axis = property(lambda self: self.config.channel_axis, doc="Axis of the channels in a batch.")
    row_axis = property(lambda self: self.config.row_axis, doc="Axis of the rows in a batch.")
    col_axis = property(lambda self: self.config.col_axis, doc="Axis of the columns in a batch.")

    def to_config(self) -> dict[str, Any]:
        """The options as JSON values (without what was fitted).

        Returns
        -------
        dict
            For :meth:`from_config`; a function is described by its module, its name and a hash of its code.
        """
        return self.config.to_dict()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **functions: Callable[..., Any] | None) -> Self:
        """A generator with the options that :meth:`to_config` gave.

        Parameters
        ----------
        config : mapping
        **functions
            ``preprocessing_function=...`` where it has no name by which it could be imported.
        """
        made = cls.__new__(cls)
        made._set_up(Config.from_dict(config, **functions))
        return made

    def state(self) -> tuple[Any, ...]:
        """The objects that decide what is done to images: another one in any place means other images."""
        return self.config, self.statistics, *self._assigned.values()

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in ("_fallback_state", "_made_matrix")}
        return kept | {"_made_matrix": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._fallback_state = threading.local()

    def _card_facts(self) -> list[Fact]:
        chosen = self.config.chosen()
        facts = [Fact(name, text, f"{name}={text}") for name, text in chosen.items()]
        facts = facts or [Fact("options", "all at their defaults", "")]
        if "data_format" not in chosen:
            facts.append(Fact("data format", f"{self.config.data_format}; batches are {self.config.dtype}", ""))
        facts += [Fact(name, _assigned_text(value), "") for name, value in self._assigned.items()]
        if self.statistics is not None:
            told = self.statistics._card_facts()
            facts += [dataclasses.replace(fact, in_line="") for fact in told if fact.name not in self._assigned]
        return facts

    def _card_state(self) -> State:
        if self.statistics is not None:
            return State("fitted", GOOD)
        if not self.config.needs_statistics:
            return State("needs no fit")
        needed = {"zca_whitening_matrix"} if self.config.zca_whitening else {"mean"}
        assigned = {name for name, value in self._assigned.items() if value is not None}
        return State("statistics assigned", GOOD) if needed & assigned else State("not fitted", BAD)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({one_line(self._card_facts())}) <{self._card_state().text}>"


def _assigned_text(value: NDArray[Any] | None) -> str:
    if value is None:
        return "None, assigned"
    return f"{number_list(value.ravel()) if value.size <= 4 else f'of shape {shape_text(value.shape)}'}, assigned"
