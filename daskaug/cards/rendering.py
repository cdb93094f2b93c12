"""Cards: HTML that stands by itself, without scripts and without anything to load."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from daskaug.cards.escaping import as_html
from daskaug.cards.facts import Fact, lines, one_line
from daskaug.cards.style import SCOPE, STYLE

MOST_FACTS = 40
"""Rows of a card."""

GOOD, BAD, OPEN = "good", "bad", "open"
"""Kinds of a state: as it should be, wrong, or neither."""

_NAME, _TITLE = 40, 80


@dataclasses.dataclass(frozen=True)
class State:
    """The state that an object is in.

    Attributes
    ----------
    text : str
        A word or two.
    kind : {"good", "bad", "open"}
    """

    text: str
    kind: str = OPEN


@dataclasses.dataclass(frozen=True)
class Drawing:
    """An array that is to be drawn with its chunks.

    Attributes
    ----------
    shape : tuple of int
    pieces : tuple of int, or of tuples of int
        For each axis the length of its chunks, or the lengths of all.
    """

    shape: tuple[int, ...]
    pieces: tuple[int | tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Card:
    """What is shown of an object in a notebook.

    Attributes
    ----------
    title : str
    facts : sequence of Fact
    state : State or None
    drawing : Drawing or None
    """

    title: str
    facts: Sequence[Fact]
    state: State | None = None
    drawing: Drawing | None = None

    def html(self) -> str:
        """The card; texts are escaped, and long ones shortened."""
        state = ""
        if self.state is not None:
            state = f'<span class="dk-state dk-{self.state.kind}">{as_html(self.state.text, _NAME)}</span>'
        shown = list(self.facts[:MOST_FACTS])
        if len(self.facts) > MOST_FACTS:
            shown.append(Fact("", f"and {len(self.facts) - MOST_FACTS:,} more"))
        return (
            f'<div class="daskaug-card {SCOPE}">{STYLE}'
            f'<div class="dk-head"><span class="dk-title">{as_html(self.title, _TITLE)}</span>{state}</div>'
            f'<div class="dk-body"><table><tbody>{"".join(map(_row, shown))}</tbody></table>{self._drawn()}</div></div>'
        )

    def _drawn(self) -> str:
        if self.drawing is None:
            return ""
        from daskaug.cards.chunks import draw_chunks

        picture = draw_chunks(self.drawing.shape, self.drawing.pieces)
        return f'<div class="dk-drawing">{picture}</div>' if picture else ""


def _row(fact: Fact) -> str:
    kind = ' class="dk-wrong"' if fact.is_wrong else ""
    return f'<tr{kind}><th scope="row">{as_html(fact.name, _NAME)}</th><td>{as_html(fact.text)}</td></tr>'


class Described:
    """An object that a notebook shows as a card.

    Saying what it is costs next to nothing: no pixel is read and nothing is computed. Where even that fails, the card
    says so; a notebook would otherwise show a traceback in place of the object.
    """

    def _card_facts(self) -> list[Fact]:
        """What is to be said."""
        raise NotImplementedError

    def _card_state(self) -> State | None:
        """In which state the object is, if it can be in several."""
        return None

    def _card_drawing(self) -> Drawing | None:
        """The array whose chunks are to be drawn."""
        return None

    def _repr_html_(self) -> str:
        title = type(self).__name__
        try:
            return Card(title, self._card_facts(), self._card_state(), self._card_drawing()).html()
        except Exception as error:  # noqa: BLE001  see above
            said = f"{error} ({type(error).__name__})"
            return Card(title, [Fact("error", said, is_wrong=True)], State("cannot be described", BAD)).html()


class Told(Described):
    """An object whose text is its facts, one below the other, and whose ``repr`` is the most important of them."""

    def __str__(self) -> str:
        return "\n".join(lines(self._card_facts(), 9))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {one_line(self._card_facts(), '; ')}>"
