"""The benchmark of what a cluster costs runs, small, and every place makes the same store."""

from __future__ import annotations

import pytest

from benchmarks.overhead import SOURCES, main

pytestmark = pytest.mark.long

SMALL = ["--images", "96", "--rounds", "1"]


def test_a_small_run(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = main([*SMALL, "--places", "threads", "processes", "--sources", "store"])
    assert list(rows) == [("threads", "store"), ("processes", "store")]
    assert len({found[0]["hash"] for found in rows.values()}) == 1
    (row,) = rows["processes", "store"]
    assert row["images"] == 96
    assert row["scheduler"] > 0
    assert row["bytes"]["loopback"] > 0
    assert "| store | processes |" in capsys.readouterr().out


@pytest.mark.hosts
def test_a_small_run_on_several_hosts(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = main([*SMALL, "--places", "hosts", "--sources", *SOURCES])
    assert len({found[0]["hash"] for found in rows.values()}) == 1
    sent = {source: from_client(found[0]) for (_, source), found in rows.items()}
    pixels = 96 * 224 * 224 * 3
    assert sent["memory"] > pixels
    assert sent["store"] < pixels / 10


def from_client(row) -> int:
    return sum(nbytes for way, nbytes in row["bytes"].items() if way.startswith("client → "))
