"""What happens to each image: the ten parameters of Keras, for a block of samples at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.config import Config, ShiftRange
from daskaug.seeding import Operation

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """Drawn parameters of b samples, in Keras' names and units.

    Attributes
    ----------
    theta, shear : (b,) float64
        Degrees.
    tx, ty : (b,) float64
        Shifts in pixels; `tx` comes from ``height_shift_range`` and `ty` from ``width_shift_range``.
    zx, zy : (b,) float64
        Factors by which the sampling grid is stretched: above 1 the picture shrinks.
    flip_horizontal, flip_vertical : (b,) bool
    channel_shift_intensity : (b,) float64 or None
        Added to every channel, in the image's units. None: the operation is off.
    brightness : (b,) float64 or None
        Factor. None: the operation is off.
    given : tuple of mappings, or None
        The dictionaries that they were made from, which may hold more than Keras' names.
    """

    theta: Floats
    tx: Floats
    ty: Floats
    shear: Floats
    zx: Floats
    zy: Floats
    flip_horizontal: NDArray[np.bool_]
    flip_vertical: NDArray[np.bool_]
    channel_shift_intensity: Floats | None
    brightness: Floats | None
    given: tuple[Mapping[str, Any], ...] | None = None

    def __len__(self) -> int:
        return len(self.theta)

    def row(self, i: int) -> dict[str, Any]:
        """The parameters of sample i as the dictionary that Keras' ``get_random_transform`` returns."""
        if self.given is not None:
            return dict(self.given[i])
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "given"}
        return {name: None if value is None else value[i].item() for name, value in values.items()}

    @classmethod
    def from_dicts(cls, parameters: Sequence[Mapping[str, Any]]) -> Draws:
        """The reverse of :meth:`row`; a missing name means that nothing is done, as in Keras' ``apply_transform``."""

        def column(name: str, default: float, dtype: Any = np.float64) -> Any:
            return np.array([p.get(name, default) for p in parameters], dtype)

        def optional(name: str) -> Floats | None:
            values = [p.get(name) for p in parameters]
            if all(value is None for value in values):
                return None
            return np.array([np.nan if value is None else value for value in values], np.float64)

        return cls(
            theta=column("theta", 0),
            tx=column("tx", 0),
            ty=column("ty", 0),
            shear=column("shear", 0),
            zx=column("zx", 1),
            zy=column("zy", 1),
            flip_horizontal=column("flip_horizontal", False, np.bool_),
            flip_vertical=column("flip_vertical", False, np.bool_),
            channel_shift_intensity=optional("channel_shift_intensity"),
            brightness=optional("brightness"),
            given=tuple(parameters),
        )


def draw(config: Config, size: tuple[int, int], seed: int, epoch: int, ids: NDArray[Any]) -> Draws:
    """Draw the parameters of some samples.

    Every sample's numbers depend on (seed, epoch, id, operation) alone: not on which other samples are in the block,
    nor on which other operations are switched on.

    Parameters
    ----------
    config : Config
    size : (height, width)
        Of the images in pixels; shifts given as a fraction refer to it.
    seed, epoch : int
    ids : (b,) integers
        Sample ids.
    """
    operations = _switched_on(config)
    numbers = dict(zip(operations, seeding.uniforms(seed, epoch, operations, ids), strict=True))  # (b, 4) each
    b = len(ids)

    def symmetric(extent: float, operation: Operation) -> Floats:
        return _between(-extent, extent, numbers[operation][:, 0]) if extent else np.zeros(b)

    def shift(extent: ShiftRange, pixels: int, operation: Operation) -> Floats:
        return _shift(extent, pixels, numbers[operation]) if extent else np.zeros(b)

    def coin(operation: Operation) -> NDArray[np.bool_]:
        return numbers[operation][:, 0] < 0.5 if operation in numbers else np.zeros(b, np.bool_)

    zoom = np.ones((2, b))
    if Operation.ZOOM in numbers:
        zoom = _between(*config.zoom_range, numbers[Operation.ZOOM][:, :2].T)
    channel_shift = brightness = None
    if config.channel_shift_range:
        channel_shift = symmetric(config.channel_shift_range, Operation.CHANNEL_SHIFT)
    if config.brightness_range is not None:
        brightness = _between(*config.brightness_range, numbers[Operation.BRIGHTNESS][:, 0])
    return Draws(
        theta=symmetric(config.rotation_range, Operation.ROTATION),
        tx=shift(config.height_shift_range, size[0], Operation.HEIGHT_SHIFT),
        ty=shift(config.width_shift_range, size[1], Operation.WIDTH_SHIFT),
        shear=symmetric(config.shear_range, Operation.SHEAR),
        zx=zoom[0],
        zy=zoom[1],
        flip_horizontal=coin(Operation.HORIZONTAL_FLIP),
        flip_vertical=coin(Operation.VERTICAL_FLIP),
        channel_shift_intensity=channel_shift,
        brightness=brightness,
    )


def _switched_on(config: Config) -> tuple[Operation, ...]:
    """The operations that need random numbers."""
    wanted = {
        Operation.ROTATION: config.rotation_range,
        Operation.HEIGHT_SHIFT: config.height_shift_range,
        Operation.WIDTH_SHIFT: config.width_shift_range,
        Operation.SHEAR: config.shear_range,
        Operation.ZOOM: config.zoom_range != (1, 1),
        Operation.HORIZONTAL_FLIP: config.horizontal_flip,
        Operation.VERTICAL_FLIP: config.vertical_flip,
        Operation.CHANNEL_SHIFT: config.channel_shift_range,
        Operation.BRIGHTNESS: config.brightness_range is not None,
    }
    return tuple(operation for operation, is_on in wanted.items() if is_on)


def _between(low: float, high: float, uniform: Floats) -> Floats:
    return low + (high - low) * uniform


def _shift(extent: ShiftRange, pixels: int, columns: Floats) -> Floats:
    """A shift in pixels: column 0 of the operation's row picks the amount, column 1 the sign."""
    if isinstance(extent, float):
        shift = _between(-extent, extent, columns[:, 0])
        return shift * pixels if extent < 1 else shift
    choices = np.arange(extent) if isinstance(extent, int) else np.asarray(extent)
    element = choices[(columns[:, 0] * len(choices)).astype(np.intp)]
    shift = np.where(columns[:, 1] < 0.5, -element, element).astype(np.float64)
    # Keras asks whether the largest value is below 1, which makes pixels into fractions if all of them are negative.
    is_fraction = isinstance(extent, tuple) and np.abs(choices).max() < 1
    return shift * pixels if is_fraction else shift


def draw_like_keras(config: Config, size: tuple[int, int], state: np.random.RandomState) -> dict[str, Any]:
    """The parameters that Keras draws from the given state of NumPy's legacy generator, bit for bit.

    Parameters
    ----------
    config : Config
    size : (height, width)
    state : numpy.random.RandomState
        Advanced by as many numbers as Keras would take.

    References
    ----------
    Keras 3.15, ``ImageDataGenerator.get_random_transform``.
    """

    def symmetric(extent: float) -> float:
        return state.uniform(-extent, extent) if extent else 0

    theta = symmetric(config.rotation_range)
    tx = _shift_like_keras(config.height_shift_range, size[0], state)
    ty = _shift_like_keras(config.width_shift_range, size[1], state)
    shear = symmetric(config.shear_range)
    zx, zy = (1, 1) if config.zoom_range == (1, 1) else state.uniform(*config.zoom_range, 2)
    flip_horizontal = bool(state.random_sample() < 0.5) * config.horizontal_flip
    flip_vertical = bool(state.random_sample() < 0.5) * config.vertical_flip
    intensity = symmetric(config.channel_shift_range) if config.channel_shift_range else None
    brightness = state.uniform(*config.brightness_range) if config.brightness_range is not None else None
    return {
        "theta": theta,
        "tx": tx,
        "ty": ty,
        "shear": shear,
        "zx": zx,
        "zy": zy,
        "flip_horizontal": flip_horizontal,
        "flip_vertical": flip_vertical,
        "channel_shift_intensity": intensity,
        "brightness": brightness,
    }


def _shift_like_keras(extent: ShiftRange, pixels: int, state: np.random.RandomState) -> float:
    if not extent:
        return 0
    if isinstance(extent, float):
        shift = state.uniform(-extent, extent)
    else:
        shift = state.choice(extent)
        shift *= state.choice([-1, 1])
    return shift * pixels if np.max(extent) < 1 else shift
