"""The benchmark of a killed worker runs, small, and its epochs are the same."""

from __future__ import annotations

import pytest

from benchmarks.lost_worker import main

pytestmark = pytest.mark.long


@pytest.mark.faults
def test_a_small_run(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (run,) = main(["--images", "512", "--repeat", "1"])
    assert run["killed"]["hash"] == run["undisturbed"]["hash"]
    assert "; 1 hash(es)" in capsys.readouterr().out
