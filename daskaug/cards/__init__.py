"""What an object says of itself: in a line, in a table of text, and in a notebook as a card of HTML."""

from __future__ import annotations

from daskaug.cards.facts import Fact, lines, number_list, one_line, shape_text, size_text
from daskaug.cards.rendering import BAD, GOOD, OPEN, Card, Described, Drawing, State, Told

__all__ = [
    "BAD",
    "GOOD",
    "OPEN",
    "Card",
    "Described",
    "Drawing",
    "Fact",
    "State",
    "Told",
    "lines",
    "number_list",
    "one_line",
    "shape_text",
    "size_text",
]
