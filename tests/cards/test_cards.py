"""Cards themselves: their form, hostile text, and chunks."""

from __future__ import annotations

import re
import tracemalloc

import dask.array as da
import pytest

from daskaug.cards import BAD, GOOD, Card, Described, Drawing, Fact, State, lines, one_line, size_text
from daskaug.cards.chunks import SIZE, draw_chunks
from daskaug.cards.escaping import as_html, as_text, shortened
from tests.cards.reading import HOSTILE, read


def test_a_card_shows_title_state_and_facts():
    shown = read(Card("Thing", [Fact("images", "3 of 8×8×1"), Fact("at", "/a/b")], State("complete", GOOD)).html())
    assert (shown.title, shown.state) == ("Thing", "complete")
    assert shown.facts == [("images", "3 of 8×8×1"), ("at", "/a/b")]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_a_name_is_it_is_shown_as_text(text):
    drawing = Drawing((4, 2, 2, 1), (2, 2, 2, 1))
    shown = read(Card(text, [Fact(text, text), Fact("and", "so on")], State(text, BAD), drawing).html())
    assert shown.title == shortened(as_text(text), 80)
    assert shown.state == shortened(as_text(text), 40)
    assert shown.facts == [(shortened(as_text(text), 40), shortened(as_text(text))), ("and", "so on")]


def test_text_keeps_its_meaning():
    assert as_text("a\nb\x00") == "a␊b␀"
    assert as_text("gr\udcfcn") == "gr\\udcfcn"
    assert as_text("größer 像素 \u202e") == "größer 像素 \u202e"
    long = "/begin" + 500 * "x" + "/end.zarr"
    assert shortened(long, 21) == "/beginxxxx…x/end.zarr"
    assert len(shortened(long, 300)) == 300
    # Shortened text can be had in full, and a letter that turns the direction of writing does so in its element only.
    assert f'title="{long}"' in as_html(long)
    assert as_html("\u202ea") == "<bdi>\u202ea</bdi>"


def test_a_list_of_facts_is_bounded():
    shown = read(Card("Thing", [Fact("row", str(i)) for i in range(5000)]).html())
    assert len(shown.facts) < 100
    assert shown.facts[-1] == ("", f"and {5000 - len(shown.facts) + 1:,} more")


def test_what_cannot_be_described_says_so():
    class Broken(Described):
        def _card_facts(self):
            raise OSError("<b>the disk</b> is gone")

    class NoDrawing(Described):
        def _card_facts(self):
            return []

        def _card_drawing(self):
            return Drawing((2, 2), (1,))

    shown = read(Broken()._repr_html_())
    assert (shown.title, shown.state) == ("Broken", "cannot be described")
    assert shown["error"] == "<b>the disk</b> is gone (OSError)"
    assert read(NoDrawing()._repr_html_()).state == "cannot be described"


def test_facts_as_text():
    facts = [Fact("images", "3"), Fact("at", "/a", ""), Fact("mean", "1", "about 1")]
    assert lines(facts, 8) == ["images   3", "at       /a", "mean     1"]
    assert one_line(facts) == "images 3, about 1"


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1000, "1.00 kB"), (115_008, "115.0 kB"), (999_949, "999.9 kB"),
        (999_999, "1.00 MB"), (27_500_000, "27.5 MB"), (1.5e9, "1.50 GB"), (5e11, "500.0 GB"), (2.5e15, "2,500.0 TB"),
    ],
)  # fmt: skip
def test_sizes(nbytes, text):
    assert size_text(nbytes) == text


# --- chunks ------------------------------------------------------------------------------------------------------


def elements(svg: str) -> list[str]:
    return re.findall(r"<(?:line|polygon|text) .*", svg)


@pytest.mark.parametrize("chunks", [(7,), (10, 20), (4, 3, 3), (30, 48, 96, 3), ((5, 1, 9), (20,), (4, 4, 2), (3,))])
def test_chunks_are_drawn_as_dask_draws_them(chunks):
    shape = tuple(sum(each) if isinstance(each, tuple) else 100 for each in chunks)
    array = da.zeros(shape, chunks=chunks)
    assert elements(draw_chunks(shape, chunks)) == elements(array.to_svg(size=SIZE))
    assert elements(draw_chunks(shape, array.chunks)) == elements(array.to_svg(size=SIZE))


def test_everything_drawn_lies_within_the_picture():
    for shape, pieces in [((248, 96, 96, 3), (4, 96, 96, 3)), ((5, 1000, 20, 1), (1, 10, 20, 1)), ((3,), (1,))]:
        picture = draw_chunks(shape, pieces)
        width, height = map(int, re.search(r'width="(\d+)" height="(\d+)"', picture).groups())
        xs = [float(x) for x in re.findall(r'x[12]?="([\d.]+)"', picture)]
        ys = [float(y) for y in re.findall(r'y[12]?="([\d.]+)"', picture)]
        assert max(xs) < width
        assert max(ys) < height


def test_a_million_chunks_take_no_more_than_a_hundred():
    draw_chunks((10, 1), (1, 1))
    tracemalloc.start()
    picture = draw_chunks((4_000_003, 96, 96, 3), (4, 96, 96, 3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # a tuple of a million chunks has 8 MB
    assert len(picture) < 50_000
    assert ">4000003<" in picture
    listed = draw_chunks((4_000_000,), ((4,) * 1_000_000,))
    assert ">4000000<" in listed
    assert elements(listed) == elements(draw_chunks((4_000_000,), (4,)))


def test_nothing_is_drawn_where_there_is_nothing():
    assert draw_chunks((0, 8, 8, 1), (1, 8, 8, 1)) == ""
    assert "<svg" not in Card("Thing", [], None, Drawing((0, 8, 8, 1), (1, 8, 8, 1))).html()
