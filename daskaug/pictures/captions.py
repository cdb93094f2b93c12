"""Drawn parameters in words, for beneath a picture: in letters that Pillow's own font has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from daskaug.cards.escaping import as_text, shortened

_WORDS = {
    ("theta",): (0, "rotation {}°"),
    ("tx",): (0, "height shift {} px"),
    ("ty",): (0, "width shift {} px"),
    ("shear",): (0, "shear {}°"),
    ("zx", "zy"): (1, "zoom {}, {}"),
    ("channel_shift_intensity",): (None, "channel shift {}"),
    ("brightness",): (None, "brightness {}"),
}
"""Of each operation its parameters, their value where nothing is done, and how they are put into words."""

_FLIPS = {"flip_horizontal": "horizontally", "flip_vertical": "vertically"}


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
    said = []
    for names, (neutral, words) in _WORDS.items():
        values = [parameters.get(name, neutral) for name in names]
        if any(
            value is not None and (name in active or value != neutral)
            for name, value in zip(names, values, strict=True)
        ):
            said.append(words.format(*map(_number, values)))
    flips = [way for name, way in _FLIPS.items() if parameters.get(name)]
    if flips:
        said.append("flipped both ways" if len(flips) == 2 else f"flipped {flips[0]}")
    known = {name for names in _WORDS for name in names} | set(_FLIPS)
    said += [shortened(as_text(f"{name} {value}"), 40) for name, value in parameters.items() if name not in known]
    return "\n".join(said) or "unchanged"


def _number(value: Any) -> str:
    """Three digits, and no minus before what is shown as 0."""
    shown = f"{float(value):.3g}"
    return "0" if shown == "-0" else shown
