"""Pages in headless Chromium, and what went wrong on them."""

from __future__ import annotations

import contextlib
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WAIT_SECONDS = 60


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Debian's Chromium: playwright's own would have to be downloaded."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page, with what went wrong on it.

    Parameters
    ----------
    browser
        Of :func:`chromium`.
    width, height : int
        In pixels.
    **context
        For playwright's ``new_page``.

    Attributes
    ----------
    page : playwright.sync_api.Page
    errors : list of str
        What the page has complained about, and addresses that it could not load.
    hosts : set of str
        That it has asked for anything.
    """

    def __init__(self, browser: Any, width: int = 1400, height: int = 1000, **context: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": height}, **context)
        self.page.set_default_timeout(1e3 * WAIT_SECONDS)
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"{request.url}: {request.failure}"))
        self.page.on("request", lambda request: self.hosts.add(urllib.parse.urlsplit(request.url).hostname or ""))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def value(self, name: str) -> Any:
        """The element that shows a value."""
        return self.page.locator(f"[data-value='{name}']").first

    def wait_for_value(self, name: str, text: str) -> None:
        """Until a value reads like this."""
        from playwright.sync_api import expect

        expect(self.value(name)).to_have_text(text, timeout=1e3 * WAIT_SECONDS)

    def save(self, path: Path) -> None:
        """A screenshot of all of the page, for whoever wants to look at it."""
        self.page.screenshot(path=path, full_page=True)


@contextlib.contextmanager
def browser_page(width: int = 1000, height: int = 800, color_scheme: str = "light") -> Iterator[Watched]:
    """The page of a browser of its own.

    Parameters
    ----------
    width, height : int
        Pixels of the window.
    color_scheme : {"light", "dark"}
        What the page is told that its reader prefers.
    """
    with chromium() as browser:
        yield Watched(browser, width, height, color_scheme=color_scheme)
