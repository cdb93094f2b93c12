"""The four examples of the Keras page run in Keras 3, with the edits that the migration guide lists."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from daskaug.migration import EDITS, compare_with_keras

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GUIDE = ROOT / "docs" / "migrating-from-keras.md"
NAMES = ("array", "directory", "masks", "dataframe")

backends = pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])


@functools.cache
def outcomes(backend: str) -> dict:
    """Run the examples in a process of their own: Keras has one backend per process."""
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.examples.run_example", *NAMES],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "ran out of data" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# Batches that the optimiser has seen, and losses that are on record.
EXPECTED = {
    "array": {"steps": 2 * 7 + 2 * 7, "loss": 1, "validation": 0},
    "directory": {"steps": 2 * 2, "loss": 2, "validation": 2},
    "masks": {"steps": 2 * 1, "loss": 2, "validation": 0},
    "dataframe": {"steps": 2 * 3, "loss": 2, "validation": 2},
}


@backends
@pytest.mark.parametrize("name", NAMES)
def test_an_example_trains(name, backend):
    found = outcomes(backend)[name]
    assert found["backend"] == backend
    assert all(math.isfinite(loss) for loss in found["loss"])
    assert found | {"loss": len(found["loss"])} == found | EXPECTED[name]


@backends
def test_images_and_masks_stay_paired(backend):
    assert outcomes(backend)["masks"]["pairs"] > 0.7


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_that_keras_refuses(name):
    refused = {row.name for row in EDITS}
    code = (HERE / f"{name}.py").read_text(encoding="utf-8")
    assert [str(finding) for finding in compare_with_keras(code) if finding.row.name in refused] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_lists_every_edit(name):
    code = (HERE / f"{name}.py").read_text(encoding="utf-8")
    made = set(re.findall(r"# edit: (.+)$", code, re.M))
    row = re.search(
        rf"^\| \[{name}\.py\]\(\.\./tests/examples/{name}\.py\) \|.*\| (.+) \|$", GUIDE.read_text("utf-8"), re.M
    )
    assert row is not None
    assert made == set(row[1].split(", "))
