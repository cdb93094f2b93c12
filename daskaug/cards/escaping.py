"""Text from anywhere as HTML that shows it and does nothing else."""

from __future__ import annotations

import html

LONGEST, LONGEST_TITLE = 300, 2000
"""Letters that are shown, and that appear when the mouse rests on what was shortened."""

_PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
_PICTURES |= dict.fromkeys(range(128, 160), 65533)


def as_text(text: str) -> str:
    """Text that every browser and every notebook file can hold.

    Control characters become their pictures, and what is no Unicode, as in names of files that are not in UTF-8, is
    written in escapes.
    """
    return str(text).translate(_PICTURES).encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text, or its beginning and end: the ends of paths and of messages tell most."""
    if len(text) <= longest:
        return text
    tail = longest // 2
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"


def as_html(text: str, longest: int = LONGEST) -> str:
    """Text as an element of its own.

    Letters that turn the direction of writing do so within this element only.

    Parameters
    ----------
    text : str
        Of any origin and length.
    longest : int
        Letters that are shown; the middle of a longer text is left out.
    """
    plain = as_text(text)
    shown = shortened(plain, longest)
    title = "" if shown == plain else f' title="{html.escape(shortened(plain, LONGEST_TITLE))}"'
    return f"<bdi{title}>{html.escape(shown)}</bdi>"
