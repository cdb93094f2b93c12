"""Every option of the generator: Keras' names, order and defaults, checked once and then never changed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from daskaug import callables
from daskaug.errors import ConfigError

FILL_MODES = ("constant", "nearest", "reflect", "wrap")
DATA_FORMATS = ("channels_last", "channels_first")
DTYPES = ("float16", "float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32")

ShiftRange = int | float | tuple[int, ...] | tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Config:
    """The options of an :class:`~daskaug.ImageDataGenerator`.

    The fields are the arguments of Keras' ``ImageDataGenerator`` (Keras 3.15, ``keras.src.legacy.preprocessing``),
    in its order, then those of daskaug. What is stored is what was meant: ``zoom_range=0.2`` becomes
    ``(0.8, 1.2)``, ``data_format=None`` becomes what keras.json says, ``zca_whitening=True`` switches
    ``featurewise_center`` on. The generator's documentation tells what each of them does.

    Raises
    ------
    ConfigError
        For a value that cannot work, naming the argument, the value and what is allowed.

    Warns
    -----
    UserWarning
        Where one option overrides another, in Keras' words.
    """

    featurewise_center: bool = False
    samplewise_center: bool = False
    featurewise_std_normalization: bool = False
    samplewise_std_normalization: bool = False
    zca_whitening: bool = False
    zca_epsilon: float = 1e-6
    rotation_range: float = 0
    width_shift_range: ShiftRange = 0.0
    height_shift_range: ShiftRange = 0.0
    brightness_range: tuple[float, float] | None = None
    shear_range: float = 0.0
    zoom_range: tuple[float, float] = 0.0  # type: ignore[assignment]  # Keras' default; stored as a pair of factors
    channel_shift_range: float = 0.0
    fill_mode: str = "nearest"
    cval: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    rescale: float | None = None
    preprocessing_function: Callable[..., Any] | None = None
    data_format: str = None  # type: ignore[assignment]  # None asks keras.json
    validation_split: float = 0.0
    interpolation_order: int = 1
    dtype: str = None  # type: ignore[assignment]  # None asks keras.json
    compat: str | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            object.__setattr__(self, name, rule(name, getattr(self, name)))
        self._resolve_overrides()
        if np.dtype(self.dtype).kind in "iu" and self.centers:
            raise ConfigError(
                f"`dtype` is {self.dtype!r}, an integer type, while {self.centers!r} is on: centred pixels are "
                "fractions on both sides of zero and would be lost. Use a float `dtype`, or switch centring off."
            )

    def _resolve_overrides(self) -> None:
        """Keras' own order of overrides, with its warnings."""
        asked_for_std = self.featurewise_std_normalization
        if self.zca_whitening and not self.featurewise_center:
            self._override("featurewise_center", True, "zca_whitening")
        if self.zca_whitening and asked_for_std:
            self._override("featurewise_std_normalization", False, "zca_whitening")
        if asked_for_std and not self.featurewise_center:
            self._override("featurewise_center", True, "featurewise_std_normalization")
        if self.samplewise_std_normalization and not self.samplewise_center:
            self._override("samplewise_center", True, "samplewise_std_normalization")

    def _override(self, name: str, value: bool, because: str) -> None:
        object.__setattr__(self, name, value)
        warnings.warn(
            f"This ImageDataGenerator specifies `{because}`, which overrides setting of `{name}`.",
            UserWarning,
            stacklevel=5,
        )

    # --- what follows from the options ---------------------------------------------------------------------------

    @property
    def centers(self) -> str | None:
        """Name of the first option that moves pixels below zero, or None."""
        flags = ("featurewise_center", "samplewise_center", "zca_whitening")
        return next((name for name in flags if getattr(self, name)), None)

    @property
    def needs_statistics(self) -> bool:
        """Whether standardising needs a fitted mean, std or whitening matrix."""
        return self.featurewise_center or self.featurewise_std_normalization or self.zca_whitening

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in a batch."""
        return 3 if self.data_format == "channels_last" else 1

    @property
    def row_axis(self) -> int:
        """Axis of the rows (height) in a batch."""
        return 1 if self.data_format == "channels_last" else 2

    @property
    def col_axis(self) -> int:
        """Axis of the columns (width) in a batch."""
        return 2 if self.data_format == "channels_last" else 3

    def size_of(self, image_shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of an image of this shape, in the data format."""
        return image_shape[self.row_axis - 1], image_shape[self.col_axis - 1]

    @property
    def is_affine(self) -> bool:
        """Whether a draw can move pixels about by more than a flip."""
        ranges = (self.rotation_range, self.width_shift_range, self.height_shift_range, self.shear_range)
        return any(ranges) or self.zoom_range != (1, 1)

    @property
    def standardizes(self) -> bool:
        """Whether anything is to be done after augmenting."""
        return any(getattr(self, name) not in (None, False) for name in self.without_standardizing())

    def without_standardizing(self) -> dict[str, Any]:
        """Changes that switch off everything after augmenting; then an integer dtype is fine."""
        return {"rescale": None, "preprocessing_function": None, **dict.fromkeys(_STANDARDIZING, False)}

    # --- there and back ------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All options as JSON values; a function is described by module, name and a hash of its code."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.preprocessing_function is not None:
            plain["preprocessing_function"] = callables.record(self.preprocessing_function)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    def to_json(self) -> str:
        """The options as canonical JSON: sorted, no white space; equal configurations give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], **functions: Callable[..., Any] | None) -> Config:
        """Rebuild a configuration from :meth:`to_dict`.

        Parameters
        ----------
        plain : mapping
            As :meth:`to_dict` gives it; missing options take their defaults.
        **functions
            ``preprocessing_function=...`` where it cannot be imported by its name.

        Raises
        ------
        ConfigError
            For unknown options, bad values, or a function that cannot be found.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(plain) - known):
            raise ConfigError(f"Unknown option(s) {unknown} in the configuration; the known ones are {sorted(known)}.")
        options = dict(plain)
        recorded = options.get("preprocessing_function")
        if functions.get("preprocessing_function") is not None:
            options["preprocessing_function"] = functions["preprocessing_function"]
        elif isinstance(recorded, Mapping):
            options["preprocessing_function"] = callables.recall(dict(recorded), "preprocessing_function")
        return cls(**options)

    @classmethod
    def from_json(cls, text: str, **functions: Callable[..., Any] | None) -> Config:
        """Rebuild a configuration from :meth:`to_json`; see :meth:`from_dict`."""
        return cls.from_dict(json.loads(text), **functions)

    def replace(self, **changes: Any) -> Config:
        """Copy with some options changed, checked like any other."""
        return dataclasses.replace(self, **changes)

    def chosen(self) -> dict[str, str]:
        """Text of the options that differ from the defaults."""
        shown = {}
        for field in dataclasses.fields(self):
            value, default = getattr(self, field.name), field.default
            usual = {"zoom_range": (1, 1), "data_format": "channels_last", "dtype": "float32"}.get(field.name, default)
            if value != usual:
                shown[field.name] = str(getattr(value, "__qualname__", None) or repr(value))
        return shown

    def __repr__(self) -> str:
        """Only what differs from the defaults, so that the line can be read."""
        return f"Config({', '.join(f'{name}={value}' for name, value in self.chosen().items())})"


_STANDARDIZING = (
    "featurewise_center",
    "samplewise_center",
    "featurewise_std_normalization",
    "samplewise_std_normalization",
    "zca_whitening",
)


# --- Keras' own defaults -----------------------------------------------------------------------------------------


def keras_default(name: str, fallback: str) -> str:
    """The user's ``image_data_format`` or ``floatx``.

    Asked of Keras where it is loaded, else read from ``$KERAS_HOME/keras.json`` or ``~/.keras/keras.json``; Keras is
    never imported for it.
    """
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config"):
        return str(getattr(keras.config, name)())
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    try:
        settings = json.loads(Path(home, "keras.json").read_text(encoding="utf-8"))
        return str(settings.get(name, fallback))
    except (OSError, ValueError, AttributeError):
        return fallback


# --- one rule per option: (name, what was given) -> what is stored -----------------------------------------------


def _wrong(name: str, value: Any, allowed: str) -> ConfigError:
    return ConfigError(f"`{name}` must be {allowed}. Received: {name}={value!r}.")


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise _wrong(name, value, "True or False")


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float | np.integer | np.floating)
        and not isinstance(value, bool | np.bool_)
        and math.isfinite(value)
    )


def _number(value: Any) -> int | float:
    """A Python number of the same kind: int and float mean different things in a shift range."""
    return int(value) if isinstance(value, int | np.integer) else float(value)


def _finite(name: str, value: Any) -> float:
    if not _is_number(value):
        raise _wrong(name, value, "a finite number")
    return _number(value)


def _not_negative(name: str, value: Any) -> float:
    if not _is_number(value) or value < 0:
        raise _wrong(name, value, "a finite number, 0 or more")
    return _number(value)


def _optional_number(name: str, value: Any) -> float | None:
    return None if value is None else _finite(name, value)


def _shift(name: str, value: Any) -> ShiftRange:
    """A fraction below 1, pixels, an integer number of pixels, or the values to choose from."""
    allowed = (
        "a float (below 1 a fraction of the size, otherwise pixels), an int (pixels), "
        "or a 1-D array-like of numbers to choose from; a single number may not be negative"
    )
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if _is_number(value) and value >= 0:
        return _number(value)
    if value is None or isinstance(value, str | bytes | bool) or np.ndim(value) != 1:
        raise _wrong(name, value, allowed)
    values = np.asarray(value)
    if values.size == 0:
        return 0.0
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise _wrong(name, value, allowed)
    return tuple(values.tolist())


def _pair(name: str, value: Any, allowed: str) -> tuple[float, float]:
    if isinstance(value, tuple | list | np.ndarray) and len(value) == 2 and all(_is_number(v) for v in value):
        low, high = (_number(v) for v in value)
        return low, high
    raise _wrong(name, value, allowed)


def _zoom(name: str, value: Any) -> tuple[float, float]:
    allowed = "a float z (factors from 1 - z to 1 + z) or a pair of factors, none of them negative"
    if value is None:
        return 1, 1
    factors = (1 - _number(value), 1 + _number(value)) if _is_number(value) else _pair(name, value, allowed)
    if min(factors) < 0:
        raise _wrong(name, value, allowed)
    return factors


def _brightness(name: str, value: Any) -> tuple[float, float] | None:
    return None if value is None else _pair(name, value, "None or a tuple or list of two floats")


def _value_range(name: str, value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = _pair(name, value, "None or a pair (lowest, highest)")
    if not low < high:
        raise _wrong(name, value, "a pair whose first number is the smaller one")
    return low, high


def _split(name: str, value: Any) -> float:
    if not value:
        return 0.0
    if not _is_number(value) or not 0 < value < 1:
        raise _wrong(name, value, "strictly between 0 and 1 (or 0 for no validation part)")
    return float(value)


def _one_of(*choices: Any) -> Callable[[str, Any], Any]:
    def rule(name: str, value: Any) -> Any:
        if not isinstance(value, str | int | None) or isinstance(value, bool) or value not in choices:
            raise _wrong(name, value, f"one of {', '.join(map(repr, choices))}")
        return value

    return rule


def _order(name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not 0 <= value <= 5:
        raise _wrong(name, value, "an int from 0 (nearest) over 1 (bilinear) to 5, the order of the spline")
    return int(value)


def _function(name: str, value: Any) -> Callable[..., Any] | None:
    if value is not None and not callable(value):
        raise _wrong(name, value, "None or a function of one image that returns an image of the same shape")
    return value  # type: ignore[no-any-return]


def _data_format(name: str, value: Any) -> str:
    chosen = keras_default("image_data_format", "channels_last") if value is None else value
    return str(_one_of(*DATA_FORMATS)(name, chosen))


def _dtype(name: str, value: Any) -> str:
    chosen = keras_default("floatx", "float32") if value is None else value
    try:
        stored = np.dtype(chosen).name
    except TypeError:
        stored = None
    if stored not in DTYPES:
        raise _wrong(name, value, f"one of {', '.join(DTYPES)}")
    return str(stored)


_RULES: dict[str, Callable[[str, Any], Any]] = {
    "featurewise_center": _flag,
    "samplewise_center": _flag,
    "featurewise_std_normalization": _flag,
    "samplewise_std_normalization": _flag,
    "zca_whitening": _flag,
    "zca_epsilon": _not_negative,
    "rotation_range": _finite,
    "width_shift_range": _shift,
    "height_shift_range": _shift,
    "brightness_range": _brightness,
    "shear_range": _finite,
    "zoom_range": _zoom,
    "channel_shift_range": _finite,
    "fill_mode": _one_of(*FILL_MODES),
    "cval": _finite,
    "horizontal_flip": _flag,
    "vertical_flip": _flag,
    "rescale": _optional_number,
    "preprocessing_function": _function,
    "data_format": _data_format,
    "validation_split": _split,
    "interpolation_order": _order,
    "dtype": _dtype,
    "compat": _one_of(None, "keras"),
    "value_range": _value_range,
}
