"""The three routes of ZCA whitening, against each other and against Keras' formula in float64."""

from __future__ import annotations

import logging
import pickle

import dask.array as da
import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator, Statistics
from daskaug.errors import ConfigError, StoreError
from daskaug.statistics.whitening import plan, plan_whitening
from tests import clusters
from tests.statistics.test_whitening import keras_whitening, relative

ROUTES = ("features", "samples", "randomized")
OPTIONS = {"featurewise_center": True, "zca_whitening": True}


def whitening_of(images, options=None, **how):
    return ImageDataGenerator(**OPTIONS, **(options or {})).fit(images, **how).statistics.whitening


@pytest.fixture(scope="module")
def cases(digits, small_tiles, tiles) -> dict[str, np.ndarray]:
    return {
        "digits, some pixels always blank": digits[:600],
        "fewer images than values": small_tiles[::97][:90],
        "as many images as values": small_tiles[:192],
        "more images than values": small_tiles[:700],
        "float32": (np.sqrt(small_tiles[:100]) / 16).astype(np.float32),
        "uint16": small_tiles[:100].astype(np.uint16) * 257,
        "float64 far from zero": np.sqrt(small_tiles[:100].astype(np.float64)) + 1e4,
        "int8": (small_tiles[:100] // 2).astype(np.int8) - 64,
        "dark": (small_tiles[:100] // 64).astype(np.uint8),
        "16×16": tiles[:60, ::2, ::2],
    }


NAMES = [
    "digits, some pixels always blank",
    "fewer images than values",
    "as many images as values",
    "more images than values",
    "float32",
    "uint16",
    "float64 far from zero",
    "int8",
    "dark",
    "16×16",
]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", NAMES)
def test_every_route_is_keras_formula_in_float64(cases, name, route):
    images = cases[name]
    expected, rows, rank = keras_whitening(images.astype(np.float64), 3, 1e-2)
    found = whitening_of(images, {"zca_epsilon": 1e-2}, zca_route=route)
    assert found.route == route
    assert found.rank == rank
    assert relative(found.matrix(), expected) < 1e-7
    assert found.captured == pytest.approx(1, abs=1e-9)
    coordinates = (rows @ found.u) * (np.sqrt(len(rows)) / (np.sqrt(len(rows)) / found.scale - 1e-2))
    assert np.abs(coordinates.T @ coordinates / len(rows) - np.eye(rank)).max() < 1e-6
    assert np.abs(found.u.T @ found.u - np.eye(rank)).max() < 1e-7


@pytest.mark.parametrize("route", ROUTES)
def test_a_number_of_directions_or_a_share_of_the_variance(small_tiles, route):
    images = small_tiles[:500]
    _, rows, _ = keras_whitening(images.astype(np.float64), 3, 0.0)
    variances = np.linalg.svd(rows, compute_uv=False) ** 2
    shares = np.cumsum(variances) / variances.sum()
    ten = whitening_of(images, zca_route=route, zca_components=10)
    assert ten.rank == 10
    assert ten.captured == pytest.approx(shares[9], abs=1e-6)
    most = whitening_of(images, zca_route=route, zca_components=0.97)
    assert most.rank == np.argmax(shares >= 0.97) + 1
    assert most.captured >= 0.97
    everything = whitening_of(images, zca_route=route, zca_components=1.0)
    assert everything.rank == whitening_of(images, zca_route=route).rank


def test_a_sketch_is_the_same_for_the_same_seed_and_tells_its_error(small_tiles):
    images = small_tiles[:2000]
    exact = whitening_of(images, zca_route="features", zca_components=16)
    first, again, other = (
        whitening_of(images, zca_route="randomized", zca_components=16, seed=seed) for seed in (3, 3, 4)
    )
    assert np.array_equal(first.u, again.u)
    assert np.array_equal(first.scale, again.scale)
    assert not np.array_equal(first.u, other.u)
    for sketch in (first, other):
        assert 0 < sketch.error < 0.1
        # The bound holds: the variances are as right as it says (scale² is n / s²).
        assert np.abs((exact.scale / sketch.scale) ** 2 - 1).max() <= sketch.error
        assert exact.captured - 1e-4 <= sketch.captured <= exact.captured
        assert np.linalg.svd(sketch.u[:, :12].T @ exact.u, compute_uv=False).min() > 0.999


def test_a_share_that_the_sketch_does_not_reach_is_told(small_tiles, monkeypatch):
    monkeypatch.setattr(plan, "allows_matrix", lambda features: False)
    monkeypatch.setattr(plan, "DEFAULT_RANK", 4)
    with pytest.warns(UserWarning, match=r"zca_components=0.999 asks for more"):
        found = whitening_of(small_tiles[:300], zca_route="randomized", zca_components=0.999)
    assert found.rank == 4
    assert found.captured < 0.999


def test_few_images_in_many_tiles_and_slabs(small_tiles):
    """A small budget means more passes, and the same numbers."""
    images = small_tiles[::97][:90]
    whole = whitening_of(images, zca_route="samples")
    made = ImageDataGenerator(**OPTIONS)
    tight = made.plan_zca(images, zca_route="samples", memory_budget=400_000)
    assert tight.cost.passes > made.plan_zca(images, zca_route="samples").cost.passes
    assert tight.cost.slabs > 1
    found = whitening_of(images, zca_route="samples", memory_budget=400_000)
    assert relative(found.matrix(), whole.matrix()) < 1e-9
    seen = []
    made.fit(
        images, zca_route="samples", memory_budget=400_000, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == sorted(seen)
    assert seen[-1] == (90 * tight.cost.passes, 90 * tight.cost.passes)


@pytest.mark.parametrize("route", ROUTES)
def test_every_source_and_data_format(small_tiles, tmp_path, route):
    images = small_tiles[::7][:150]
    expected = whitening_of(images, zca_route=route).matrix()
    stored = zarr.create_array(tmp_path / "x.zarr", data=images, chunks=(40, 8, 8, 3))
    for source in (stored, da.from_array(images, chunks=(37, 8, 8, 3))):
        assert relative(whitening_of(source, zca_route=route).matrix(), expected) < 1e-6
    first = whitening_of(np.moveaxis(images, 3, 1).copy(), {"data_format": "channels_first"}, zca_route=route).matrix()
    moved = first.reshape(3, 8, 8, 3, 8, 8).transpose(1, 2, 0, 4, 5, 3).reshape(192, 192)
    assert relative(moved, expected) < 1e-6


@pytest.mark.parametrize("route", ROUTES)
def test_what_is_fitted_on_is_what_training_sees(small_tiles, route):
    images = small_tiles[::7][:60]
    options = {"rotation_range": 30, "horizontal_flip": True, "rescale": 1 / 255, "zca_epsilon": 1e-3}
    found = ImageDataGenerator(**OPTIONS, **options).fit(images, True, 2, seed=5, zca_route=route)
    plain = ImageDataGenerator(**{**options, "zca_epsilon": 1e-6})
    seen = np.concatenate([plain.augment(images, seed=5, epoch=epoch).compute() for epoch in range(2)])
    expected, _, _ = keras_whitening(seen.astype(np.float64), 3, 1e-3)
    assert found.statistics.samples == 120
    assert relative(found.statistics.whitening.matrix(), expected) < 1e-4


def test_images_without_variance_are_whitened_to_nothing():
    flat = np.full((5, 4, 4, 1), 7, np.uint8)
    for route in ROUTES:
        found = whitening_of(flat, zca_route=route)
        assert found.rank == 0
        assert not found.matrix().any()
        assert found.captured == 1
        assert found.error == 0


def test_the_plan_is_announced_before_the_work(small_tiles, caplog):
    with caplog.at_level(logging.INFO, "daskaug"):
        ImageDataGenerator(**OPTIONS).fit(small_tiles[:300])
    announced = caplog.messages[0]
    for part in (
        "300 images",
        "192 values",
        "rank at most 192",
        "1 pass over",
        "flops",
        "about",
        "memory",
        "applied as",
    ):
        assert part in announced
    assert announced == str(ImageDataGenerator(**OPTIONS).plan_zca(small_tiles[:300]))


def test_the_cheapest_route_that_fits_is_chosen():
    def route(samples, side, **options):
        return plan_whitening(samples, side * side * 3, 1, is_8bit=True, cores=2, **options).route

    assert route(50_000, 32) == "features"
    assert route(500, 64) == "samples"
    assert route(4_096, 224) == "samples"
    assert route(500_000, 224) == "randomized"
    assert route(200_000, 64, components=32) == "randomized"
    assert route(1_000, 8, route="randomized") == "randomized"
    large = plan_whitening(4_096, 150_528, 1, is_8bit=True, cores=2)
    assert large.applying <= 10
    assert large.is_stored
    small = plan_whitening(10_000, 3_072, 1, is_8bit=True, cores=2)
    assert small.applying > 10
    quick = int(str(small).partition("zca_components=")[2].split()[0])
    assert plan_whitening(10_000, 3_072, 1, is_8bit=True, cores=2, components=quick).applying <= 10
    assert plan_whitening(10_000, 3_072, 1, is_8bit=True, cores=2, components=quick + 1).applying > 10
    assert "would take less than 10 times" not in str(large)


def test_what_does_not_fit_is_refused_before_anything_is_read(tmp_path):
    """There is nothing to read: the store has no chunks, and reading it would give zeros in silence."""
    store = zarr.create_array(tmp_path / "x.zarr", shape=(60_000, 224, 224, 3), chunks=(50, 224, 224, 3), dtype="u1")
    made = ImageDataGenerator(**OPTIONS)
    seen = []
    with pytest.raises(ConfigError) as caught:
        made.fit(store, memory_budget=500_000_000, progress=lambda *counts: seen.append(counts))
    assert not seen
    assert made.statistics is None
    message = str(caught.value)
    for part in ("60,000", "150,528", "0.50 GB", "features 906.", "samples", "randomized", "Nothing was read"):
        assert part in message
    rank = int(message.partition("zca_components=")[2].partition(")")[0])
    budget = int(message.partition("memory_budget=")[2].partition(")")[0].replace("_", ""))
    # Both of the ways out that it names are ones.
    assert made.plan_zca(store, memory_budget=500_000_000, zca_components=rank).rank == rank
    assert made.plan_zca(store, memory_budget=budget).budget == budget
    with pytest.raises(ConfigError, match=r"zca_route='samples' does not fit.*zca_route='randomized'"):
        made.plan_zca(store, zca_route="samples")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zca_route": "svd"}, "`zca_route`"),
        ({"zca_components": 0}, "`zca_components`"),
        ({"zca_components": 1.5}, "`zca_components`"),
        ({"zca_components": True}, "`zca_components`"),
        ({"memory_budget": 0}, "`memory_budget`"),
        ({"memory_budget": 1e9}, "`memory_budget`"),
    ],
)
def test_options_are_checked(digits, options, message):
    with pytest.raises(ConfigError, match=message):
        ImageDataGenerator(**OPTIONS).fit(digits, **options)


def test_keras_whitening_takes_no_options(digits):
    with pytest.raises(ConfigError, match="`zca_components` cannot be used"):
        ImageDataGenerator(**OPTIONS, compat="keras").fit(digits, zca_components=3)


# --- factors that are large ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crops(photographs) -> np.ndarray:
    """Crops of photographs, (40, 112, 112, 3) uint8: more values than a matrix is made for."""
    corners = [(y, x) for y in range(0, 150, 60) for x in range(0, 250, 60)]
    cut = [picture[y : y + 112, x : x + 112] for picture in photographs for y, x in corners]
    return np.stack([crop for crop in cut if crop.shape == (112, 112, 3)][:40])


@pytest.fixture
def stored(crops, tmp_path) -> ImageDataGenerator:
    """Fitted, its directions in a store."""
    return ImageDataGenerator(**OPTIONS).fit(crops, zca_store=tmp_path / "u.zarr")


def test_large_factors_travel_as_an_address(crops, stored, tmp_path):
    here = ImageDataGenerator(**OPTIONS).fit(crops)
    u = stored.statistics.whitening.u
    assert u.shape == (112 * 112 * 3, 40 - 1) or u.shape == (112 * 112 * 3, 40)
    assert u.nbytes > 5e6
    assert np.array_equal(u, here.statistics.whitening.u.astype(np.float32))
    transform = stored.block_transform(seed=1)
    transform(crops[:2], np.arange(2), 0)
    assert len(pickle.dumps(transform)) < 10_000
    assert len(pickle.dumps(stored)) < 20_000
    assert np.array_equal(zarr.open_array(tmp_path / "u.zarr")[:], u)
    whitened = next(stored.flow(crops, batch_size=40, shuffle=False))
    expected = next(here.flow(crops, batch_size=40, shuffle=False))
    assert np.abs(whitened - expected).max() < 1e-4 * np.abs(expected).max()
    rows = whitened.reshape(40, -1).astype(np.float64)
    coordinates = rows @ u
    assert np.abs(coordinates.T @ coordinates / 40 - np.eye(u.shape[1])).max() < 1e-4
    with pytest.raises(ConfigError, match=r"statistics\.whitening"):
        _ = stored.zca_whitening_matrix


def test_large_factors_are_saved_loaded_and_applied_on_two_workers(crops, stored, tmp_path):
    from distributed import Client

    stored.save(tmp_path / "stats.npz")
    assert (tmp_path / "stats.npz").stat().st_size < 100_000
    loaded = ImageDataGenerator(**OPTIONS).load(tmp_path / "stats.npz")
    assert loaded.statistics == stored.statistics == Statistics.load(tmp_path / "stats.npz")
    assert loaded.statistics.whitening.route == stored.statistics.whitening.route
    assert np.array_equal(loaded.statistics.whitening.u, stored.statistics.whitening.u)
    expected = next(stored.flow(crops, batch_size=40, shuffle=False))
    source = zarr.create_array(tmp_path / "x.zarr", data=crops, chunks=(5, 112, 112, 3))
    assert len(pickle.dumps(loaded.block_transform())) < 10_000
    with clusters.two_workers() as cluster, Client(cluster):
        found = np.concatenate(list(loaded.flow(source, batch_size=4, shuffle=False).one_epoch()))
        for route in ("samples", "randomized"):
            there = ImageDataGenerator(**OPTIONS).fit(source, zca_route=route).statistics.whitening
            assert relative(there.scale, stored.statistics.whitening.scale) < 1e-5
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_factors_that_are_gone_or_others_are_refused(crops, stored, tmp_path):
    stored.save(tmp_path / "stats.npz")
    place = tmp_path / "stats.npz.directions.zarr"
    zarr.open_array(place, mode="r+")[7] = 0
    with pytest.raises(StoreError, match="not those that were fitted"):
        _ = Statistics.load(tmp_path / "stats.npz").whitening.u
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="zca_store="):
        _ = Statistics.load(tmp_path / "stats.npz").whitening.u


def test_a_place_that_holds_something_else_is_left_alone(digits, tmp_path):
    zarr.create_array(tmp_path / "mine.zarr", data=np.arange(5))
    (tmp_path / "text").write_text("mine")
    for name in ("mine.zarr", "text"):
        with pytest.raises(StoreError, match="zca_store="):
            ImageDataGenerator(**OPTIONS).fit(digits, zca_store=tmp_path / name)
    assert zarr.open_array(tmp_path / "mine.zarr")[:].tolist() == [0, 1, 2, 3, 4]


def test_a_temporary_place_goes_with_the_generator(crops, monkeypatch):
    import gc
    from pathlib import Path

    from daskaug.whitening_fit import storing

    monkeypatch.setattr(storing, "STORED_NBYTES", 2**20)
    made = ImageDataGenerator(**OPTIONS).fit(crops)
    place = Path(made.statistics.whitening.directions.path)
    assert place.exists()
    del made
    gc.collect()
    assert not place.exists()


def test_materialised_stores_keep_the_factors(crops, stored, tmp_path):
    from daskaug import open_materialized

    stored.materialize(crops, tmp_path / "m.zarr", seed=1)
    found = next(open_materialized(tmp_path / "m.zarr").flow(batch_size=40, shuffle=False))
    expected = next(stored.flow(crops, batch_size=40, shuffle=False, seed=1))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
