"""A PyTorch loop that stops in the middle of an epoch goes on in another process to the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zarr

from tests import pictures

pytestmark = [pytest.mark.torch, pytest.mark.timeout(360)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "train.zarr"
    zarr.create_array(path, data=pictures.digits()[0][:1500], chunks=(50, 8, 8, 1))
    return path


def run(store: Path, state: Path, *options: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.training.train_torch", str(store), str(state), *options],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_processes_train_what_one_would(store, tmp_path):
    """The first stops in the middle of epoch 2; an epoch has 47 batches."""
    (tmp_path / "alone").mkdir()
    (tmp_path / "resumed").mkdir()
    alone = run(store, tmp_path / "alone")
    assert alone["done"] == 6 * 47
    assert alone["accuracy"] >= 0.85

    first = run(store, tmp_path / "resumed", "--batches", "107")
    assert (first["epoch"], first["position"]) == (2, 13 * 32)
    assert first["weights"] != alone["weights"]
    assert run(store, tmp_path / "resumed") == alone
