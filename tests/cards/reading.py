"""Reading a card back, as a browser would, with what every card has to keep to."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

ALLOWED = {"div", "span", "style", "table", "tbody", "tr", "th", "td", "bdi", "svg", "line", "polygon", "text"}

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; background:url(//x.invalid)",
    "</style></td></table><h1>out",
    "&lt;b&gt; &amp; &#60;",
    "right\u202eto\u2066left",
    "line\nbreak\x00\x1b[31m",
    "not utf-8 \udcff\ud800",
    "long" * 3000,
    '"><script>alert(1)</script>' * 200,
    "{{ 7 * 7 }} ${7*7} $x_1$",
)
"""What names of classes, files, functions and options may be. All of it is text."""


@dataclasses.dataclass
class Read:
    """What a card shows."""

    title: str = ""
    state: str = ""
    facts: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    style: str = ""
    labels: list[str] = dataclasses.field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        return dict(self.facts)[name]

    def __contains__(self, name: str) -> bool:
        return name in dict(self.facts)


class _Parser(HTMLParser):
    """Collects what is shown; refuses what could do more than show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.read, self.stack = Read(), []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        for name, value in attributes:
            assert name not in ("href", "src", "srcset", "action", "data", "xlink:href"), name
            assert not name.startswith("on"), name
            assert name != "style" or "url(" not in str(value)
        self.stack.append((tag, dict(attributes).get("class") or ""))
        if tag == "tr":
            self.read.facts.append(("", ""))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop()[0] == tag

    def handle_data(self, text: str) -> None:
        tags, classes = [tag for tag, _ in self.stack], " ".join(each for _, each in self.stack)
        if not tags:
            assert not text.strip()
        elif tags[-1] == "style":
            self.read.style += text
        elif "dk-title" in classes:
            self.read.title += text
        elif "dk-state" in classes:
            self.read.state += text
        elif "tr" in tags:
            name, told = self.read.facts[-1]
            self.read.facts[-1] = (name + text, told) if "th" in tags else (name, told + text)
        elif tags[-1] == "text":
            self.read.labels.append(text)


def read(html: str) -> Read:
    """What a card shows, after checks of its form."""
    html.encode("utf-8")  # or it cannot be sent to a browser
    ET.fromstring(html)  # well-formed even for the strictest
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert parser.stack == []
    style = parser.read.style
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in style
    assert style.count("{") == style.count("}")
    return parser.read


def card(described: Any) -> Read:
    """What is shown of an object."""
    found = read(described._repr_html_())
    assert found.state != "cannot be described", found.facts
    return found
