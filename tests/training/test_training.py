"""``model.fit(datagen.flow(...))`` learns, and twice the same."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ACCURACY = 0.95

backends = pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])


@functools.cache
def trained(backend: str, repetition: int) -> dict:
    """Train in a process of its own: Keras has one backend per process."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.train_digits"],
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["backend"] == backend
    return found


@pytest.mark.long
@backends
def test_a_small_network_learns_the_digits(backend):
    found = trained(backend, 0)
    assert found["is_pydataset"]
    assert found["accuracy"] >= ACCURACY
    assert found["validation_accuracy"] >= ACCURACY - 0.03


@backends
def test_an_epoch_of_training_is_an_epoch_of_the_iterator(backend):
    """Keras probes a batch, and calls on_epoch_end twice after a validation pass: neither may skip an epoch."""
    found = trained(backend, 0)
    assert found["epoch"] == found["validation_epoch"] == 8


@pytest.mark.long
@backends
def test_training_twice_gives_the_same_weights(backend):
    assert trained(backend, 0)["weights"] == trained(backend, 1)["weights"]
