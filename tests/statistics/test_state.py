"""The fitted state: every field survives a file, and no damaged file passes for a good one."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from daskaug.errors import SourceError, StoreError
from daskaug.statistics import FloatTotals, IntegerGram, IntegerMoments, Statistics, StatisticsRecipe


def fit(
    images: np.ndarray, gram: bool = False, data_format: str = "channels_last", rescale: float | None = None
) -> Statistics:
    recipe = StatisticsRecipe(images.shape[1:], data_format, images.dtype.name, gram)
    return recipe.finalise(recipe.partial(images, 0), rescale=rescale)


def whitened(images: np.ndarray, epsilon: float = 1e-6, **options) -> Statistics:
    return replace(fit(images, gram=True, **options).whiten(epsilon=epsilon), gram=None)


@pytest.fixture(scope="module")
def states(small_tiles, digits) -> dict[str, Statistics]:
    planes = np.ascontiguousarray(small_tiles[:99].transpose(0, 3, 1, 2))
    return {
        "integer": fit(small_tiles),
        "integer, rescaled and whitened": whitened(digits, 1e-3, rescale=1 / 16),
        "integer, with its Gram matrix": fit(small_tiles.astype(np.int16) * 3, gram=True),
        "signed": fit(small_tiles.astype(np.int16) - 300),
        "float": fit(np.sqrt(small_tiles).astype(np.float32)),
        "float, whitened, channels first": whitened(planes.astype(np.float64), data_format="channels_first"),
        "float, whitened, with its Gram matrix": fit(np.sqrt(small_tiles[:99]), gram=True).whiten(components=9),
        "beyond 2^53": Statistics(
            (1, 1, 1),
            "channels_last",
            "uint16",
            IntegerMoments(10**30, 10**30, (65535 * 10**30 - 7,), (65535**2 * 10**30 - 9,), (1,), (65535,)),
        ),
    }


NAMES = [
    "integer",
    "integer, rescaled and whitened",
    "integer, with its Gram matrix",
    "signed",
    "float",
    "float, whitened, channels first",
    "float, whitened, with its Gram matrix",
    "beyond 2^53",
]


def assert_every_field_equal(a: Statistics, b: Statistics) -> None:
    for name in ("image_shape", "data_format", "dtype", "samples", "pixels", "rescale", "channels", "digest"):
        assert getattr(a, name) == getattr(b, name), name
        assert type(getattr(a, name)) is type(getattr(b, name)), name
    assert type(a.moments) is type(b.moments)
    if isinstance(a.moments, IntegerMoments):
        assert a.moments == b.moments
        assert all(type(value) is int for value in b.moments.sums + b.moments.squares + b.moments.low)
    arrays = [(a.mean, b.mean), (a.std, b.std), (a.minimum, b.minimum), (a.maximum, b.maximum)]
    if isinstance(a.moments, FloatTotals):
        arrays += [(a.moments.mean, b.moments.mean), (a.moments.m2, b.moments.m2)]
    assert (a.whitening is None) == (b.whitening is None)
    if a.whitening is not None:
        assert a.whitening.epsilon == b.whitening.epsilon
        arrays += [(a.whitening.u, b.whitening.u), (a.whitening.scale, b.whitening.scale)]
        arrays += [(a.whitening.matrix(), b.whitening.matrix())]
    assert type(a.gram) is type(b.gram)
    if a.gram is not None:
        assert a.gram.rows == b.gram.rows
        names = ("sums", "products") if isinstance(a.gram, IntegerGram) else ("mean", "scatter")
        arrays += [(getattr(a.gram, name), getattr(b.gram, name)) for name in names]
    for ours, theirs in arrays:
        assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())


@pytest.mark.parametrize("name", NAMES)
def test_every_field_survives_a_file_and_a_pickle(states, name, tmp_path):
    state = states[name]
    state.save(tmp_path / "statistics")
    assert [path.name for path in tmp_path.iterdir()] == ["statistics"]
    for copy in (Statistics.load(tmp_path / "statistics"), pickle.loads(pickle.dumps(state))):
        assert_every_field_equal(state, copy)
        assert copy == state
        assert hash(copy) == hash(state)
        assert repr(copy) == repr(state)


def test_all_states_differ(states):
    assert len(set(states.values())) == len(states)
    assert len({state.digest for state in states.values()}) == len(states)
    assert states["integer"] != "integer"


def test_the_digest_is_fixed():
    """Stores refer to it: it may only change together with the version of the format."""
    moments = IntegerMoments(2, 8, (10, 20), (30, 90), (0, 1), (4, 5))
    state = Statistics((2, 2, 2), "channels_last", "uint8", moments, rescale=0.5)
    assert state.digest == "bb21926b8264ad95c8b056ec0e0a9b74034cab0fccd351e221b76f52b73b684d"


def test_numpy_alone_reads_the_file(states, tmp_path):
    state = states["integer, rescaled and whitened"]
    path = tmp_path / "statistics.npz"
    state.save(str(path))
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(str(file["header"]))
        entries = {name: file[name] for name in file.files if name != "header"}
    assert header["format"] == "daskaug statistics"
    assert header["version"] == 2
    assert header["digest"] == state.digest
    assert header["image_shape"] == [8, 8, 1]
    assert int(header["samples"]) == 1797
    assert int(header["sums"][0]) == state.moments.sums[0]
    assert sorted(entries) == ["maximum", "mean", "minimum", "std", "zca_scale", "zca_u"]
    np.testing.assert_array_equal(entries["mean"], state.mean)
    np.testing.assert_array_equal(entries["zca_u"], state.whitening.u)


def test_saving_replaces_the_file_whole_or_not_at_all(states, tmp_path, monkeypatch):
    path = tmp_path / "statistics.npz"
    states["integer"].save(path)

    def full_disk(file, **arrays):
        file.write(b"half of it")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full_disk)
        with pytest.raises(OSError, match="No space"):
            states["float"].save(path)
    assert Statistics.load(path) == states["integer"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["statistics.npz"]
    states["float"].save(path)
    assert Statistics.load(path) == states["float"]


def rewritten(path, change):
    """Change header or arrays of a file and make its digest fit again, as somebody who edits it might."""
    from daskaug.statistics import archive

    with np.load(path, allow_pickle=False) as file:
        entries = {name: file[name] for name in file.files}
    header = json.loads(str(entries.pop("header")))
    marks = {name: header.pop(name) for name in ("format", "version", "digest")}
    change(header, entries, marks)
    marks["digest"] = archive.digest(header, entries)
    np.savez(path, header=np.array(json.dumps({**marks, **header})), **entries)


EDITS = {
    "another version": (lambda header, arrays, marks: marks.update(version=3), "version 3"),
    "another format": (lambda header, arrays, marks: marks.update(format="weights"), "'weights'"),
    "an entry less": (lambda header, arrays, marks: arrays.pop("minimum"), "'minimum'"),
    "an entry more": (lambda header, arrays, marks: arrays.update(extra=arrays["mean"]), "contradict"),
    "a number of the header less": (lambda header, arrays, marks: header.pop("samples"), "'samples'"),
    "a mean of other sums": (lambda header, arrays, marks: arrays.update(mean=arrays["mean"] + 1e-12), "contradict"),
    "a changed sum": (lambda header, arrays, marks: header.update(sums=["1", "2", "3"]), "contradict"),
    "no number": (lambda header, arrays, marks: header.update(samples="many"), "many"),
    "another number of pixels": (lambda header, arrays, marks: header.update(pixels="5"), "5 pixels"),
    "no pixels": (lambda header, arrays, marks: header.update(samples="0", pixels="0"), "0 images"),
    "an unknown dtype": (lambda header, arrays, marks: header.update(dtype="grey"), "grey"),
    "a shape of two": (lambda header, arrays, marks: header.update(image_shape=[8, 8]), "not enough values"),
    "fewer channels": (lambda header, arrays, marks: header.update(sums=["1"]), "moments are of 1"),
    "single precision": (lambda header, arrays, marks: arrays.update(mean=arrays["mean"].astype("f4")), "contradict"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_files_are_refused(states, edit, tmp_path):
    change, message = EDITS[edit]
    path = tmp_path / "statistics.npz"
    states["integer"].save(path)
    rewritten(path, lambda header, arrays, marks: None)
    assert Statistics.load(path) == states["integer"]
    rewritten(path, change)
    with pytest.raises(StoreError, match=message):
        Statistics.load(path)


def test_damaged_files_are_refused(states, tmp_path):
    path = tmp_path / "statistics.npz"
    states["integer, rescaled and whitened"].save(path)
    good = path.read_bytes()
    for position in range(0, len(good), 211):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x55]) + good[position + 1 :])
        try:
            found = Statistics.load(path)
        except StoreError:
            continue
        # Some bytes of a ZIP file, such as dates, carry nothing.
        assert_every_field_equal(found, states["integer, rescaled and whitened"])
    for size in (0, 1, 3, 100, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(StoreError):
            Statistics.load(path)


def test_files_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "file"
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    np.savez(tmp_path / "header.npz", header=np.array("no JSON"))
    np.savez(tmp_path / "list.npz", header=np.array("[1, 2]"))
    np.savez(tmp_path / "objects.npz", header=np.array([None]), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as file:
        file.writestr("header", "{}")
    (tmp_path / "text.txt").write_text("mean: 3\n")
    (tmp_path / "pickled").write_bytes(pickle.dumps({"mean": 3}))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(StoreError, match=path.name):
            Statistics.load(path)
    with pytest.raises(FileNotFoundError):
        Statistics.load(tmp_path / "nothing")
    with pytest.raises(StoreError):
        Statistics.load(tmp_path)


def test_merging_integers_is_exact(small_tiles):
    a, b, c = (fit(small_tiles[part], rescale=1 / 255) for part in (slice(0, 700), slice(700, 701), slice(701, None)))
    whole = fit(small_tiles, rescale=1 / 255)
    assert a + b + c == whole
    assert c + (a + b) == whole
    assert a.merge(b).samples == 701


def test_merging_floats_rounds_in_float64(small_tiles):
    images = np.sqrt(small_tiles).astype(np.float32)
    merged, whole = fit(images[:1000]) + fit(images[1000:]), fit(images)
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-13)
    np.testing.assert_allclose(merged.std, whole.std, rtol=1e-13)
    np.testing.assert_array_equal(merged.maximum, whole.maximum)
    assert merged.samples == whole.samples


def test_merging_drops_whitening_aloud(digits):
    a, b = whitened(digits[:900]), fit(digits[900:])
    with pytest.warns(UserWarning, match="ZCA"):
        merged = a + b
    assert merged == fit(digits)


def test_only_statistics_of_the_same_kind_are_merged(small_tiles):
    state = fit(small_tiles)
    others = {
        "image_shape": fit(small_tiles[:, :4]),
        "dtype": fit(small_tiles.astype(np.float32)),
        "rescale": fit(small_tiles, rescale=2.0),
        "data_format": fit(small_tiles, data_format="channels_first"),
    }
    for name, other in others.items():
        with pytest.raises(SourceError, match=f"their {name} is the same"):
            state.merge(other)
    with pytest.raises(TypeError):
        state + 3


def test_parts_that_do_not_fit_are_refused():
    moments = IntegerMoments(2, 8, (1, 2), (1, 2), (0, 0), (1, 1))
    good = {"image_shape": (2, 2, 2), "data_format": "channels_last", "dtype": "uint8", "moments": moments}
    Statistics(**good)
    for change, message in [
        ({"data_format": "planar"}, "planar"),
        ({"image_shape": (2, 2, 3)}, "3 channels"),
        ({"image_shape": (4, 2, 2)}, "8 pixels"),
        ({"image_shape": (2, 0, 2)}, "positive"),
        ({"dtype": "float32"}, "float32"),
        ({"rescale": float("nan")}, "rescale"),
    ]:
        with pytest.raises(SourceError, match=message):
            Statistics(**{**good, **change})


def test_fitted_numbers_cannot_be_changed(states):
    with pytest.raises(ValueError, match="read-only"):
        states["integer"].mean[0] = 0
    with pytest.raises(AttributeError):
        states["integer"].rescale = 3.0


def test_repr_reads_well(states):
    assert repr(states["integer, rescaled and whitened"]) == (
        "Statistics(1,797 images of 8×8×1 uint8, channels_last; rescaled by 0.0625; mean [0.30526]; std [0.376049]; "
        "ZCA of rank 62 in 64, epsilon 0.001)"
    )
