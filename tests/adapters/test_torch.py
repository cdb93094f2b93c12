"""Batches for PyTorch: a training loop, resumed in the middle of an epoch, and DataLoader around them."""

from __future__ import annotations

import doctest
import importlib
import importlib.util

import numpy as np
import pytest

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError
from tests import pictures

torch = importlib.import_module("torch") if importlib.util.find_spec("torch") else None
pytestmark = pytest.mark.torch

X, Y = pictures.digits()
OPTIONS = {"batch_size": 32, "seed": 5}


def batches():
    from daskaug.adapters.torch import TorchBatches

    generator = ImageDataGenerator(
        featurewise_center=True, featurewise_std_normalization=True, width_shift_range=0.05
    ).fit(X[:1500])
    return TorchBatches(generator.flow(X[:1500], Y[:1500], **OPTIONS))


def test_the_example_of_the_documentation():
    from daskaug.adapters import torch as module

    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0


def test_tensors_share_the_memory_of_the_arrays(monkeypatch):
    from daskaug.adapters import torch as module

    seen = []
    monkeypatch.setattr(module.torch, "from_numpy", lambda array: seen.append(array) or torch.as_tensor(array))
    images, _ = next(iter(batches()))
    assert images.data_ptr() == seen[0].__array_interface__["data"][0]
    images += 1  # and may be written to, without a warning


def test_a_data_loader_passes_them_on():
    loader = torch.utils.data.DataLoader(batches(), batch_size=None)
    assert len(loader) == 47
    images, labels = next(iter(loader))
    assert images.shape == (32, 8, 8, 1)
    assert labels.dtype == torch.int64


def test_worker_processes_are_refused():
    loader = torch.utils.data.DataLoader(
        batches(), batch_size=None, num_workers=1, multiprocessing_context="forkserver"
    )
    with pytest.raises(ConfigError, match="num_workers=0"):
        next(iter(loader))


def test_labels_that_are_words_are_refused():
    from daskaug.adapters.torch import TorchBatches

    with pytest.raises(ConfigError, match="number the labels"):
        next(iter(TorchBatches(ImageDataGenerator().flow(X[:8], np.array(list("abcdefgh"))))))


class Training:
    """A small network on the digits."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = [torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)]
        self.model = torch.nn.Sequential(*layers)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 3e-3)
        self.batches = batches()

    def step(self, images, labels):
        self.optimizer.zero_grad()
        torch.nn.functional.cross_entropy(self.model(images), labels).backward()
        self.optimizer.step()

    def state(self):
        parts = {"model": self.model, "optimizer": self.optimizer, "batches": self.batches}
        return {name: part.state_dict() for name, part in parts.items()}

    def restore(self, path):
        state = torch.load(path)
        for name, part in (("model", self.model), ("optimizer", self.optimizer), ("batches", self.batches)):
            part.load_state_dict(state[name])

    def accuracy(self):
        from daskaug.adapters.torch import TorchBatches

        generator = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True).fit(X[:1500])
        held_out = TorchBatches(generator.flow(X[1500:], Y[1500:], batch_size=64, shuffle=False))
        with torch.no_grad():
            right = [(self.model(images).argmax(1) == labels).sum().item() for images, labels in held_out]
        return sum(right) / len(X[1500:])


def test_a_training_loop_goes_on_in_the_middle_of_an_epoch_to_the_same_weights(tmp_path):
    whole, first, second = Training(), Training(), Training()
    epochs, stop_at = 15, (5, 20)
    for _ in range(epochs):
        for images, labels in whole.batches:
            whole.step(images, labels)

    for epoch in range(stop_at[0] + 1):
        for number, (images, labels) in enumerate(first.batches):
            first.step(images, labels)
            if (epoch, number) == stop_at:
                torch.save(first.state(), tmp_path / "state.pt")
                break
    second.restore(tmp_path / "state.pt")
    for _ in range(stop_at[0], epochs):
        for images, labels in second.batches:
            second.step(images, labels)

    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert whole.accuracy() >= 0.9
