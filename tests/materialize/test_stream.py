"""A stored epoch is the epoch that the live generator streams, by hash."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from daskaug import open_materialized
from tests.materialize.stores import SMALL, X, Y, generator


def digest_of(flow, epochs):
    digest = hashlib.sha256()
    for _ in range(epochs * len(flow)):
        for part in next(flow):
            digest.update(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("stored", [{"dtype": "float32"}, {"standardize": True}])
@pytest.mark.parametrize("layout_for", ["streaming", "random"])
def test_two_epochs_have_the_hash_of_the_live_stream(tmp_path, stored, layout_for):
    made = generator()
    made.materialize(X, tmp_path / "m.zarr", y=Y, epochs=2, seed=5, layout_for=layout_for, **SMALL, **stored)
    options = {"batch_size": 7, "shuffle": "block", "shuffle_unit": 8, "seed": 5, "with_ids": True}
    live, store = made.flow(X, Y, **options), open_materialized(tmp_path / "m.zarr").flow(**options)
    assert digest_of(store, 2) == digest_of(live, 2)
