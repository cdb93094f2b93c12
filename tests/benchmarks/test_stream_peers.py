"""The benchmark of streaming beside others runs, small; what is read is counted in every process."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from benchmarks.stream_peers import main

pytestmark = pytest.mark.long

UNITS, BY_IMAGE = "DataLoader, whole units, 2 workers", "DataLoader, image by image, 2 workers"


def test_a_small_run(tmp_path: Path, monkeypatch) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "torch.py").write_text("raise ImportError('no torch')")
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = streamed("daskaug", BY_IMAGE)
    assert rows["daskaug"]["order"] == "in blocks"
    assert float(rows["daskaug"]["read per byte used"]) < 2
    assert "not installable here: no torch" in rows[BY_IMAGE]["order"]


@pytest.mark.torch
def test_beside_torch(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = streamed(UNITS, BY_IMAGE)
    assert float(rows[UNITS]["read per byte used"]) == 1
    assert float(rows[BY_IMAGE]["read per byte used"]) == 32  # a chunk for each image, whichever process reads it


def streamed(*names: str) -> dict[str, dict[str, str]]:
    """The table of a small run, by name and column."""
    printed = main(["--images", "64", "--epochs", "1", "--repeat", "1", "--contestants", *names])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()]
    return {row[0]: dict(zip(cells[0], row, strict=False)) for row in cells[2:]}
