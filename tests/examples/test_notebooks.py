"""The notebooks of ``examples/`` run from a clean copy, and show what is stored in them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.examples import notebooks

pytestmark = pytest.mark.notebooks

PATHS = sorted(notebooks.EXAMPLES.glob("*.ipynb"))
MOST_NBYTES = 1_000_000
"""Of a notebook with its pictures: people look at them on slow lines."""


def test_they_are_there():
    assert PATHS


@pytest.mark.timeout(notebooks.SECONDS + 60)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_is_stored_in_it(path, tmp_path, capsys):
    import nbformat

    stored = nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    began = time.monotonic()
    fresh = notebooks.execute(path, tmp_path)
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\n    {path.name}: {seconds:.0f} s")
    for cell, before in zip(fresh.cells, stored.cells, strict=True):
        told = notebooks.shown(cell)
        assert not [each for each in told if each.startswith(("stderr", "error"))], cell.source
        assert told == notebooks.shown(before), f"run python -m tests.examples.notebooks {path}"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_is_fit_to_be_read(path):
    import nbformat

    stored = nbformat.read(path, as_version=4)
    assert path.stat().st_size < MOST_NBYTES
    assert stored.metadata.kernelspec.name == "python3"
    assert stored.cells[0].source.startswith("# ")
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert str(Path.home()) not in path.read_text(encoding="utf-8") or Path.home() == Path("/")
    assert "tests" not in {word for cell in code for word in cell.source.replace(".", " ").split()}
