"""The benchmarks run, small: ours, Keras and SciPy, in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import materialize
from benchmarks.__main__ import main
from benchmarks.report import lines

pytestmark = pytest.mark.long

NAMES = ["daskaug", "Keras", "SciPy affine_transform", "copy to float32"]


def test_a_small_run(tmp_path: Path, capsys) -> None:
    small = ["--sizes", "32", "--rounds", "2", "--seconds", "0.02", "--images", "64", "--one-core"]
    results = main([*small, "--out", str(tmp_path), "--contestants", *NAMES])

    rounds = results.rounds["1"]["32"]
    assert list(rounds) == NAMES
    assert all(len(answers) == 2 and answers[0]["images"] % 32 == 0 for answers in rounds.values())
    assert {line.name: line.keras for line in lines(rounds)}["Keras"] == 1
    # The same matrix gives the same picture, to a hair.
    assert results.differences["SciPy affine_transform"] == 0
    assert results.differences["daskaug"] < 1e-3
    assert results.differences["Keras"] < 1e-3

    assert json.loads((tmp_path / "results.json").read_text())["rounds"] == results.rounds
    assert (tmp_path / "results.md").read_text() in capsys.readouterr().out


def test_a_small_run_of_materialising(tmp_path: Path, capsys) -> None:
    small = ["--images", "64", "--repeat", "1", "--codecs", "lz4", "--naive-images", "32", "--store", str(tmp_path)]
    found = materialize.main(small)
    (row,) = found["rounds"]["lz4"]
    assert row["run"]["images"] == 128
    assert set(row["stages"]) == {"read", "transform", "write"}
    assert row["share"] == pytest.approx(row["useful"] * row["busy"])
    assert 0 < row["run"]["peak"] <= row["run"]["plan"]["peak"]
    assert row["run"]["disk"] == pytest.approx(row["run"]["plan"]["disk"], rel=0.3)
    assert list(found["by oneself"]) == ["dask + Keras on threads", "dask + Keras on processes"]
    assert "medians of 1 rounds" in capsys.readouterr().out


def test_a_small_run_of_plans(tmp_path: Path, capsys) -> None:
    (run,) = materialize.main(["--plans", "64x32", "--repeat", "1", "--store", str(tmp_path)])
    assert run["images"] == 128
    assert run["plan"]["seconds"] > 0
    assert "64 ×  32²" in capsys.readouterr().out


def test_a_library_that_is_not_installed_is_reported(tmp_path: Path, monkeypatch, capsys) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "torch.py").write_text("raise ImportError('no torch')")
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    small = ["--sizes", "32", "--rounds", "1", "--seconds", "0.02", "--images", "64", "--one-core"]
    results = main([*small, "--out", str(tmp_path), "--contestants", "copy to float32", "torch, by hand"])
    assert results.missing == {"torch, by hand": "no torch"}
    assert "torch, by hand | not installable here" in capsys.readouterr().out
