"""Facts about an object, stated once: for its ``repr``, its text and its card."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Fact:
    """Something that is to be said of an object.

    Attributes
    ----------
    name : str
        What it is about, in a word or two.
    text : str
        What is said.
    in_line : str or None
        How it reads among others in a single line; by default name and text. Empty: not at all.
    is_wrong : bool
        Whether it is something that is wrong.
    """

    name: str
    text: str
    in_line: str | None = None
    is_wrong: bool = False


def lines(facts: Iterable[Fact], width: int) -> list[str]:
    """A line of text for each fact, the names in a column of `width` letters."""
    return [f"{fact.name:{width}} {fact.text}" for fact in facts]


def one_line(facts: Iterable[Fact], between: str = ", ") -> str:
    """All facts in a single line."""
    said = (f"{fact.name} {fact.text}" if fact.in_line is None else fact.in_line for fact in facts)
    return between.join(each for each in said if each)


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people write it: 96×96×3."""
    return "×".join(map(str, shape))


def size_text(nbytes: float) -> str:
    """A number of bytes in decimal units, with three or four digits."""
    if nbytes < 1000:
        return f"{nbytes:,.0f} bytes"
    power = next((power for power in (1, 2, 3) if nbytes < 999.95 * 1000**power), 4)
    size = nbytes / 1000**power
    return f"{size:,.{2 if size < 10 else 1}f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def number_list(values: Any, most: int = 4) -> str:
    """Few enough digits of a few numbers to read."""
    shown = ", ".join(f"{value:.6g}" for value in values[:most])
    return f"[{shown}{', …' if len(values) > most else ''}]"
