"""What is taken for images and labels, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from dask import delayed
from zarr.storage import MemoryStore

from daskaug.errors import SourceError
from daskaug.sources import open_column, open_images
from tests import pictures

X = pictures.tiles(16, 5)


class Tensor:
    """As in other frameworks: their own types of data, and NumPy can have the values."""

    shape, dtype = X.shape, "framework.uint8"

    def __array__(self, dtype=None, copy=None):
        return X


class OnDisk(Tensor):
    """As in h5py: NumPy would read all of it."""

    dtype, chunks = X.dtype, (1, 16, 16, 3)

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("all of it was read")


def test_tensors_of_other_frameworks_are_images():
    assert np.array_equal(open_images(Tensor()).read(0, 5), X)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (OnDisk(), r"found OnDisk.*dask.array.from_array"),
        (np.ma.masked_equal(X, 0), r"masked array.*filled"),
        (zarr.create_group(MemoryStore()), "is a Zarr group.*none"),
        (MemoryStore(), "found MemoryStore"),
        (delayed(X), "found Delayed"),
        (None, "found NoneType"),
        ({"images": X}, "found dict"),
        pytest.param(
            X.astype(np.longdouble),
            "64 bits.*float128",
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="no wider floats here"),
        ),
    ],
    ids=["on disk", "masked", "group", "store", "delayed", "nothing", "dict", "wide float"],
)
def test_what_would_be_misread_is_refused(made, message):
    with pytest.raises(SourceError, match=message):
        open_images(made)


def test_an_open_group_is_as_good_as_its_path():
    group = zarr.create_group(MemoryStore())
    group.create_array("pictures", data=X)
    group.create_array("labels", data=np.arange(5))
    assert np.array_equal(open_images(group).read(0, 5), X)


def test_labels_of_different_shapes_are_refused_by_name():
    with pytest.raises(SourceError, match="`sample_weight` must have one shape"):
        open_column([[1.0], [1.0, 2.0]], 2, "sample_weight")
