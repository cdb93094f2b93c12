"""A page in headless Chromium."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def browser_page(*, width: int = 1000, height: int = 800, color_scheme: str = "light", **context: Any) -> Iterator[Any]:
    """A page of a browser of its own, which may load nothing but this machine's addresses.

    Parameters
    ----------
    width, height : int
        Pixels of the window.
    color_scheme : {"light", "dark"}
        What the page is told that its reader prefers.
    **context
        For playwright's ``new_page``.

    Yields
    ------
    playwright.sync_api.Page
        With `problems`, a list of what the page has complained about and of addresses that it could not load.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        try:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=color_scheme, **context)
            problems: list[str] = []
            page.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("requestfailed", lambda request: problems.append(f"not loaded: {request.url}"))
            page.problems = problems
            yield page
        finally:
            browser.close()
