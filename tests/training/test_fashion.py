"""``model.fit`` out of a Zarr store learns Fashion-MNIST, however Keras is told to fetch the batches."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fashion

ACCURACY = 0.85
ONE_CORE = {"OMP_NUM_THREADS": "1"}  # for torch, whose threads keep the iterator's waiting

pytestmark = [pytest.mark.fashion, pytest.mark.timeout(400)]
backends = pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])


@functools.cache
def trained(backend: str, *options: str, repetition: int = 0) -> dict:
    """Train in a process of its own: Keras has one backend per process."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.training.train_fashion", *options],
        env=os.environ | ONE_CORE | {"KERAS_BACKEND": backend, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=190,
    )
    assert done.returncode == 0, done.stderr
    assert "ran out of data" not in done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["backend"] == backend
    return found


def test_the_data_are_what_they_are_said_to_be():
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        images, labels = fashion.load(part)
        assert (images.shape, images.dtype) == ((n, 28, 28, 1), "uint8")
        assert [int((labels == kind).sum()) for kind in range(10)] == [n // 10] * 10


@backends
def test_a_small_network_learns(backend):
    found = trained(backend)
    assert found["accuracy"] >= ACCURACY
    assert found["accuracies"][0] < found["accuracies"][-1]
    assert found["accuracies"][-1] == pytest.approx(found["accuracy"], abs=1e-4)  # fit saw all of the test set, once
    assert found["epoch"] == 3
    assert found["validation_epoch"] == 4  # three times by fit, then by evaluate


@backends
def test_training_twice_gives_the_same_weights(backend):
    assert trained(backend)["weights"] == trained(backend, repetition=1)["weights"]


@backends
def test_four_workers_of_keras_change_nothing(backend):
    assert without_seconds(trained(backend, "--workers", "4")) == without_seconds(trained(backend))


@backends
def test_steps_per_epoch_cut_the_same_epochs_into_more(backend):
    """Four of Keras' epochs to one of the iterator: the same batches in the same order, so the same weights."""
    assert without_seconds(trained(backend, "--steps-per-epoch", "40")) == without_seconds(trained(backend))


def without_seconds(found: dict) -> dict:
    return {name: value for name, value in found.items() if name != "seconds"}
