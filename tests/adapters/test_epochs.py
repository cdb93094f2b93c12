"""What holds for every adapter: the batches of the iterator, an epoch per pass, going on where another one stopped."""

from __future__ import annotations

import importlib
import itertools
import json

import numpy as np
import pytest

from daskaug import ImageDataGenerator
from daskaug.adapters.epochs import map_arrays
from daskaug.errors import ConfigError
from tests import pictures

X, Y = (each[:50] for each in pictures.digits())
OPTIONS = {"batch_size": 8, "seed": 5}

adapters = pytest.mark.parametrize(
    ("module", "name", "options"),
    [
        pytest.param("torch", "TorchBatches", {}, marks=pytest.mark.torch),
        ("jax", "JaxBatches", {"ahead": 0}),
        ("jax", "JaxBatches", {"ahead": 2}),
        ("jax", "JaxBatches", {"ahead": 50}),
    ],
)


def flow(**options):
    return ImageDataGenerator(rotation_range=20, horizontal_flip=True).flow(X, Y, **OPTIONS | options)


def adapted(module, name, options, **flow_options):
    return getattr(importlib.import_module(f"daskaug.adapters.{module}"), name)(flow(**flow_options), **options)


def assert_same(found, expected):
    found, expected = list(found), list(expected)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(np.asarray(a), b)


@adapters
def test_a_pass_is_an_epoch(module, name, options):
    batches, expected = adapted(module, name, options), flow()
    assert len(batches) == 7
    for _ in range(3):
        assert_same(batches, expected.one_epoch())


@adapters
def test_a_pass_that_was_broken_off_is_not_taken_up_again(module, name, options):
    batches, expected = adapted(module, name, options), flow()
    for _ in itertools.islice(batches, 3):
        pass
    list(expected.one_epoch())
    assert_same(batches, expected.one_epoch())


@adapters
@pytest.mark.parametrize("done", range(8))
def test_it_goes_on_where_another_one_stopped(module, name, options, done):
    one, expected = adapted(module, name, options), flow()
    list(one)
    second = iter(one)
    for _ in range(done):
        next(second)
    state = json.loads(json.dumps(one.state_dict()))

    other = adapted(module, name, options, seed=None)
    other.load_state_dict(state)

    list(expected.one_epoch())
    rest = list(expected.one_epoch())[done:]
    if 0 < done < 7:
        assert len(other) == len(rest)
        assert_same(other, rest)
    elif done == 0:
        assert_same(other, rest)
    assert_same(other, expected.one_epoch())


@adapters
def test_ranks_have_the_batches_of_their_iterators(module, name, options):
    for rank in range(2):
        assert_same(adapted(module, name, options, shard=(rank, 2)), flow(shard=(rank, 2)).one_epoch())


@adapters
def test_weights_several_inputs_and_ids(module, name, options):
    def pairs():
        return ImageDataGenerator().flow(
            (X, [Y.astype(np.float32)]), Y, sample_weight=np.linspace(0, 1, 50), with_ids=True, **OPTIONS
        )

    made = getattr(importlib.import_module(f"daskaug.adapters.{module}"), name)(pairs(), **options)
    (images, extra), labels, weights, ids = next(iter(made))
    (x, e), y, w, i = next(pairs())
    for found, expected in ((images, x), (extra, e), (labels, y), (weights, w), (ids, i)):
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6)


def test_map_arrays_keeps_the_nest():
    nest = ({"a": np.arange(2)}, [np.arange(3), None])
    found = map_arrays(lambda array: array + 1, nest)
    assert found[0]["a"].tolist() == [1, 2]
    assert found[1][0].tolist() == [1, 2, 3]
    assert found[1][1] is None


@pytest.mark.parametrize("ahead", [-1, 1.5, True])
def test_ahead_is_checked(ahead):
    with pytest.raises(ConfigError, match="`ahead` must be an integer"):
        adapted("jax", "JaxBatches", {"ahead": ahead})
