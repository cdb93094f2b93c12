"""Drawn parameters in words, for beneath a picture: in letters that Pillow's own font has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from daskaug.cards.escaping import as_text, shortened

_WORDS: dict[str, tuple[Any, Callable[[Any], str]]] = {
    "theta": (0, lambda angle: f"rotation {_number(angle)}°"),
    "tx": (0, lambda shift: f"height shift {_number(shift)} px"),
    "ty": (0, lambda shift: f"width shift {_number(shift)} px"),
    "shear": (0, lambda angle: f"shear {_number(angle)}°"),
    "channel_shift_intensity": (None, lambda shift: f"channel shift {_number(shift)}"),
    "brightness": (None, lambda factor: f"brightness {_number(factor)}"),
}
"""What a parameter is where nothing is done, and how it is put into words; zoom and flips are put together."""

_TOGETHER = ("zx", "zy", "flip_horizontal", "flip_vertical")


def caption_of(parameters: Mapping[str, Any], active: Collection[str]) -> str:
    """A line for each operation that does something, or that is switched on.

    Parameters
    ----------
    parameters : mapping
        As ``get_random_transform`` returns it: angles in degrees, shifts in pixels. Names that are not Keras' are
        shown as they are.
    active : collection of str
        Names of the parameters whose operations are switched on.

    Returns
    -------
    str
        ``"unchanged"`` where no operation is.
    """
    said = [
        tell(parameters[name])
        for name, (neutral, tell) in _WORDS.items()
        if parameters.get(name) is not None and (name in active or parameters[name] != neutral)
    ]
    zoom = parameters.get("zx", 1), parameters.get("zy", 1)
    if {"zx", "zy"} & set(active) or zoom != (1, 1):
        said.insert(4, f"zoom {_number(zoom[0])}, {_number(zoom[1])}")
    flips = [way for way in ("horizontal", "vertical") if parameters.get(f"flip_{way}")]
    if flips:
        said.append(f"flipped {'both ways' if len(flips) == 2 else f'{flips[0]}ly'}")
    others = [name for name in parameters if name not in _WORDS and name not in _TOGETHER]
    said += [shortened(as_text(f"{name} {parameters[name]}"), 40) for name in others]
    return "\n".join(said) or "unchanged"


def _number(value: Any) -> str:
    """Three digits, and no minus before what is shown as 0."""
    shown = f"{float(value):.3g}"
    return "0" if shown == "-0" else shown
