"""Look through the built site: ``python docs/check_site.py FOLDER``.

Every link within it leads to a page and, where it names one, to a place on that page; and no page fetches anything from
the network: no script, style sheet, font or picture.
"""

from __future__ import annotations

import functools
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("script", "src"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("link", "href")}
"""What a browser loads by itself; of links, those to style sheets and icons."""

FAR = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//", re.I)
STYLE_URL = re.compile(r"url\(\s*['\"]?(?!data:)([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Page(HTMLParser):
    """Places and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        self.fetched += [given[name] for kind, name in FETCHED if kind == tag and name in given]
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


@functools.cache
def read(path: Path) -> Page:
    """A page, parsed once."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def faults_of(path: Path, site: Path) -> list[str]:
    """What is wrong with the addresses of a page."""
    page = read(path)
    found = [f"fetches {address}" for address in page.fetched if FAR.match(address)]
    for address in [*page.links, *page.fetched]:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc or address.startswith("javascript:"):
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.is_relative_to(site) or not target.is_file():
            found.append(f"leads to {address}, which is not there")
        elif (
            parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in {*read(target).places, "top"}
        ):
            found.append(f"leads to {address}: there is no such place on that page")
    return found


def faults_of_style(path: Path) -> list[str]:
    """What a style sheet would fetch from elsewhere."""
    text = path.read_text(encoding="utf-8")
    addresses = [first or second for first, second in STYLE_URL.findall(text)]
    return [f"fetches {address}" for address in addresses if FAR.match(address)]


def main(folder: str) -> int:
    """Print what is wrong, and how much was looked at."""
    site = Path(folder).resolve()
    pages = [page for page in sorted(site.rglob("*.html")) if "_static" not in page.relative_to(site).parts]
    styles = sorted(site.rglob("*.css"))
    found = [f"{page.relative_to(site)}: {fault}" for page in pages for fault in faults_of(page, site)]
    found += [f"{style.relative_to(site)}: {fault}" for style in styles for fault in faults_of_style(style)]
    links = sum(len(read(page).links) for page in pages)
    print("\n".join([*dict.fromkeys(found), f"{links:,} links on {len(pages)} pages: {len(found)} faults"]))
    return bool(found) or not pages


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
