"""Cards in a browser: legible in every theme, in their place whatever is in them, and nothing but shown."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import daskaug
from daskaug import ImageDataGenerator, open_images, open_materialized
from daskaug.cards import BAD, Card, Drawing, Fact, State
from tests import pictures
from tests.browser.browser import browser_page
from tests.cards.reading import HOSTILE

pytestmark = pytest.mark.browser

X, Y = pictures.tiles(16, 40), np.arange(40) % 5

# What JupyterLab and VS Code define around an output, in their two themes.
JUPYTER = {
    "light": "--jp-content-font-color1:rgba(0,0,0,.87);--jp-content-font-color2:rgba(0,0,0,.54);"
    "--jp-layout-color1:#fff;--jp-layout-color2:#eee;--jp-border-color2:#e0e0e0",
    "dark": "--jp-content-font-color1:#fff;--jp-content-font-color2:rgba(255,255,255,.7);--jp-layout-color1:#111;"
    "--jp-layout-color2:#424242;--jp-border-color2:#424242",
}
VSCODE = {
    "light": "--vscode-editor-foreground:#000;--vscode-editor-background:#fff;--vscode-descriptionForeground:#717171;"
    "--vscode-editorWidget-background:#f3f3f3;--vscode-widget-border:#c8c8c8",
    "dark": "--vscode-editor-foreground:#d4d4d4;--vscode-editor-background:#1e1e1e;"
    "--vscode-descriptionForeground:#ccccccb3;--vscode-editorWidget-background:#252526;--vscode-widget-border:#454545",
}
PAGES = {
    # name: (theme that is meant, what the system prefers, attributes of body)
    "plain, light": ("light", "light", ""),
    "plain, dark": ("dark", "dark", ""),
    **{
        f"JupyterLab {theme}, system {system}": (
            theme, system, f'data-jp-theme-light="{str(theme == "light").lower()}" style="{JUPYTER[theme]}"',
        )
        for theme in JUPYTER for system in ("light", "dark")
    },
    **{
        f"VS Code {theme}, system {system}": (theme, system, f'class="vscode-{theme}" style="{VSCODE[theme]}"')
        for theme in VSCODE for system in ("light", "dark")
    },
    "an old JupyterLab, dark": ("dark", "light", 'data-jp-theme-light="false"'),
    "an old JupyterLab, light": ("light", "dark", 'data-jp-theme-light="true"'),
}  # fmt: skip


@pytest.fixture(scope="module")
def cards(tmp_path_factory) -> dict[str, str]:
    """A card of each kind."""
    folder = tmp_path_factory.mktemp("cards")
    zarr.create_array(folder / "x.zarr", data=X, chunks=(3, 16, 16, 3), shards=(9, 16, 16, 3))
    datagen = ImageDataGenerator(featurewise_center=True, rotation_range=25, zoom_range=0.2)
    unfitted = datagen._repr_html_()
    datagen.fit(X, histogram=True)
    report = datagen.materialize(
        folder / "x.zarr", folder / "m.zarr", y=Y, epochs=2, seed=5, shard_rows=9, chunk_rows=3
    )
    batches = datagen.flow(folder / "x.zarr", Y, seed=1)
    opened = open_materialized(folder / "m.zarr")
    described = {
        "generator": datagen, "statistics": datagen.statistics, "array": open_images(X),
        "source": open_images(folder / "x.zarr"), "iterator": batches, "fit plan": datagen.plan_fit(folder / "x.zarr"),
        "flow plan": batches.plan(), "materialize plan": datagen.plan_materialize(X, folder / "n.zarr"),
        "report": report, "store": opened, "verification": daskaug.verify(folder / "m.zarr"),
    }  # fmt: skip
    shown = {name: each._repr_html_() for name, each in described.items()}
    next(path for path in sorted((folder / "m.zarr/images/c").rglob("*")) if path.is_file()).unlink()
    return shown | {"unfitted": unfitted, "findings": daskaug.verify(folder / "m.zarr")._repr_html_()}


def hostile_cards() -> list[str]:
    drawing = Drawing((4_000_003, 96, 96, 3), (4, 96, 96, 3))
    return [
        Card(text, [Fact(text, text), Fact("at", f"/data/{text}", is_wrong=True)], State(text, BAD), drawing).html()
        for text in HOSTILE
    ]


def show(page: Any, body: str, attributes: str = "") -> None:
    page.set_content(f'<!doctype html><html><head><meta charset="utf-8"></head><body {attributes}>{body}</body></html>')


# Every element that has text of its own, with its colour and the first background below it that is not transparent.
TEXTS = """() => [...document.querySelectorAll('.daskaug-card *')].filter(e => e.tagName !== 'STYLE' &&
    [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
  let below = e, back = getComputedStyle(e).backgroundColor;
  const isClear = c => /^rgba\\(.*, 0\\)$/.test(c) || c === 'transparent';
  while (isClear(back) && below.parentElement) {
    below = below.parentElement;
    back = getComputedStyle(below).backgroundColor;
  }
  const isDrawn = e.tagName.toLowerCase() === 'text';
  return {text: e.textContent.slice(0, 40), ink: getComputedStyle(e)[isDrawn ? 'fill' : 'color'],
          paper: isClear(back) ? 'none' : back, isDrawn};
})"""
LINES = "() => [...document.querySelectorAll('.daskaug-card line')].map(e => getComputedStyle(e).stroke)"
PAPER = "() => [...document.querySelectorAll('.daskaug-card')].map(e => getComputedStyle(e).backgroundColor)"
OVERFLOWS = """() => [...document.querySelectorAll('.daskaug-card, .daskaug-card *')].filter(e => {
  const style = getComputedStyle(e);
  if (e.closest('svg') || style.display === 'none' || e.tagName === 'STYLE') return false;
  const box = e.getBoundingClientRect(), card = e.closest('.daskaug-card').getBoundingClientRect();
  return box.right > card.right + 0.5 || box.left < card.left - 0.5 || box.bottom > card.bottom + 0.5;
}).map(e => e.outerHTML.slice(0, 80))"""


def channels(color: str) -> np.ndarray:
    """Red, green, blue (0 to 255) and alpha of a computed colour."""
    numbers = [float(each) for each in re.findall(r"[\d.]+", color)]
    return np.array([*numbers[:3], numbers[3] if len(numbers) > 3 else 1.0])


def luminance(rgb: np.ndarray) -> float:
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(ink: str, paper: str) -> float:
    """By the formula of the Web Content Accessibility Guidelines."""
    below, above = channels(paper), channels(ink)
    assert below[3] == 1, f"the paper {paper} is not opaque"
    mixed = above[:3] * above[3] + below[:3] * (1 - above[3])
    light, dark = sorted((luminance(mixed), luminance(below[:3])), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_guidelines():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(118, 118, 118)", "rgb(255, 255, 255)") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("system", ["light", "dark"])
def test_every_card_is_legible_in_every_theme(cards, system):
    with browser_page(color_scheme=system) as watched:
        page = watched.page
        for name, (theme, prefers, attributes) in PAGES.items():
            if prefers != system:
                continue
            show(page, "".join(cards.values()), attributes)
            papers = page.evaluate(PAPER)
            assert len(papers) == len(cards)
            for paper in papers:
                assert (luminance(channels(paper)[:3]) < 0.2) == (theme == "dark"), (name, paper)
            texts = page.evaluate(TEXTS)
            assert len(texts) > 100
            # 4.5 is asked of text; JupyterLab's own second colour in the light theme is 0.54 of black, which has 4.6.
            faint = [each for each in texts if contrast(each["ink"], each["paper"]) < 4.5]
            assert faint == [], name
            assert all(contrast(line, papers[0]) > 7 for line in page.evaluate(LINES)), name
            assert watched.errors == []


@pytest.mark.parametrize("width", [600, 320])
def test_nothing_sticks_out_whatever_names_are(cards, width):
    with browser_page(width=width) as watched:
        page = watched.page
        show(page, "".join([*hostile_cards(), *cards.values()]))
        assert page.evaluate(OVERFLOWS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert watched.errors == []


def test_hostile_text_is_shown_and_does_nothing():
    with browser_page() as watched:
        page = watched.page
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        show(page, "".join(hostile_cards()) + '<p id="after">after</p>')
        titles = page.evaluate("[...document.querySelectorAll('.dk-title')].map(e => e.textContent)")
        assert titles[0] == HOSTILE[0]
        assert len(titles) == len(HOSTILE)
        assert dialogs == []
        assert page.evaluate("document.querySelectorAll('script, img, h1').length") == 0
        # What stands after a card with a letter that turns the direction of writing runs from left to right.
        turned = next(i for i, text in enumerate(HOSTILE) if "\u202e" in text)
        places = page.evaluate(
            """i => { const rows = document.querySelectorAll('.daskaug-card')[i].querySelectorAll('tr');
            return [...rows].map(r => [r.cells[0].getBoundingClientRect().left, r.cells[1].getBoundingClientRect().left,
                                       getComputedStyle(r.cells[1]).direction]) }""",
            turned,
        )
        assert all(left < right and direction == "ltr" for left, right, direction in places)
        assert page.evaluate("getComputedStyle(document.getElementById('after')).direction") == "ltr"
        assert watched.errors == []


def test_cards_leave_the_rest_of_the_page_alone(cards):
    outside = (
        '<table id="t"><tr><th>a</th><td class="dk-good dk-title">b</td></tr></table><svg id="s"><text>x</text></svg>'
    )
    read = functools.partial(
        "() => ['#t', '#t th', '#t td', '#s', '#s text', 'body'].map(s => "
        "Object.fromEntries([...getComputedStyle(document.querySelector(s))].map(p => "
        "[p, getComputedStyle(document.querySelector(s))[p]])))".format
    )
    with browser_page() as watched:
        page = watched.page
        show(page, outside)
        before = page.evaluate(read())
        show(page, outside + '<div style="position:absolute;top:900px">' + "".join(cards.values()) + "</div>")
        after = page.evaluate(read())
    changed = [name for a, b in zip(before, after, strict=True) for name in a if a[name] != b[name]]
    assert changed == []


def test_a_card_loads_nothing(cards, tmp_path: Path):
    with browser_page() as watched:
        page = watched.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        (tmp_path / "cards.html").write_text("<meta charset=utf-8>" + "".join([*cards.values(), *hostile_cards()]))
        page.goto((tmp_path / "cards.html").as_uri())
        assert asked == [(tmp_path / "cards.html").as_uri()]
