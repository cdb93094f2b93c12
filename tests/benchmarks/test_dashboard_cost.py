"""The benchmark of the page runs, small."""

from __future__ import annotations

from benchmarks.dashboard_cost import main, of_a_task


def test_a_small_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = main(["--images", "256", "--rounds", "1", "--no-viewer"])
    assert set(found) == {"materialise", "stream"}
    assert all(ratio > 0 for ratios in found.values() for ratio in ratios.values())


def test_what_a_task_costs_is_small_beside_a_task() -> None:
    assert set(of_a_task(rounds=20)) == {"stage, nobody notes it", "stage, noted", "task of three stages"}
