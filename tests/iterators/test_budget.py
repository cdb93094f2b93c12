from __future__ import annotations

import re

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError
from daskaug.execution import threads_executor
from tests import pictures

X = pictures.tiles(16, 400)
PLAIN = ImageDataGenerator()


@pytest.fixture
def store(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(10, 16, 16, 3))
    return tmp_path / "x.zarr"


def flow(store, **options):
    return PLAIN.flow(store, batch_size=8, seed=1, shuffle_unit=20, shuffle_mix=2, **options)


def test_what_an_iterator_keeps_stays_within_its_budget(store):
    expected = [batch.tobytes() for batch in flow(store).one_epoch()]
    budget = 400_000
    batches = flow(store, memory_budget=budget)
    plan = batches.plan()
    assert plan.in_flight_nbytes + plan.cached_nbytes <= budget
    assert plan.cached_nbytes < X.nbytes
    assert plan.read_in_order == 1
    assert [batch.tobytes() for batch in batches.one_epoch()] == expected


@settings(max_examples=30)
@given(
    budget=st.integers(1, 100_000),
    unit=st.integers(1, 60),
    mix=st.integers(1, 5),
    batch_size=st.integers(1, 64),
    threads=st.integers(1, 16),
)
def test_too_small_a_budget_is_refused_with_one_that_is_enough(budget, unit, mix, batch_size, threads):
    memory = zarr.create_array(zarr.storage.MemoryStore(), data=X, chunks=(10, 16, 16, 3))
    options = {"batch_size": batch_size, "seed": 1, "shuffle_unit": unit, "shuffle_mix": mix}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads_executor(), "parallelism", threads)
        try:
            batches = PLAIN.flow(memory, memory_budget=budget, **options)
        except ConfigError as error:
            budget = int(re.search(r"is too small.*Pass at least ([\d,]+\d)", str(error))[1].replace(",", ""))
            batches = PLAIN.flow(memory, memory_budget=budget, **options)
        plan = batches.plan()
    assert plan.in_flight_nbytes + plan.cached_nbytes <= budget


@pytest.mark.parametrize("wrong", [0, -1, True, "1 GB", np.nan])
def test_a_budget_is_a_number_of_bytes(store, wrong):
    with pytest.raises(ConfigError, match="memory_budget"):
        flow(store, memory_budget=wrong)


def test_places_that_are_none(store):
    with pytest.raises(ConfigError, match="transform_on"):
        flow(store, transform_on="moon")
