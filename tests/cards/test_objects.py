"""What generators, statistics, sources, plans, iterators, stores and findings say of themselves."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from PIL import Image

import daskaug
from daskaug import ImageDataGenerator, open_images, open_materialized
from daskaug.cards.chunks import SIZE
from daskaug.sources import Source, with_cache
from tests import pictures
from tests.cards.reading import HOSTILE, card, read

X, Y = pictures.tiles(16, 40), np.repeat([0, 1, 2], [20, 15, 5])
OPTIONS = {"featurewise_center": True, "rotation_range": 25, "zoom_range": 0.2}


@pytest.fixture
def array(tmp_path) -> Path:
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(3, 8, 16, 3), shards=(9, 16, 16, 3))
    return tmp_path / "x.zarr"


@pytest.fixture
def store(array, tmp_path) -> Path:
    datagen = ImageDataGenerator(**OPTIONS).fit(X)
    datagen.materialize(array, tmp_path / "m.zarr", y=Y, epochs=2, seed=5, chunk_rows=3, shard_rows=9)
    return tmp_path / "m.zarr"


def write_folder(root: Path, names=("cat", "dog")) -> Path:
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for row in range(3):
            Image.fromarray(X[3 * number + row]).save(root / name / f"{row}.png")
    return root


# --- generator and statistics ------------------------------------------------------------------------------------


def test_a_generator_says_its_options_and_whether_it_is_fitted():
    datagen = ImageDataGenerator(**OPTIONS, data_format="channels_last")
    assert repr(datagen) == (
        "ImageDataGenerator(featurewise_center=True, rotation_range=25, zoom_range=(0.8, 1.2)) <not fitted>"
    )
    shown = card(datagen)
    assert (shown.title, shown.state) == ("ImageDataGenerator", "not fitted")
    assert (shown["rotation_range"], shown["zoom_range"]) == ("25", "(0.8, 1.2)")
    assert "shear_range" not in shown
    datagen.fit(X)
    shown = card(datagen)
    assert shown.state == "fitted"
    mean = X.reshape(-1, 3).mean(axis=0)
    assert shown["mean"] == f"[{', '.join(f'{each:.6g}' for each in mean)}]"
    assert repr(datagen).endswith(" <fitted>")


def test_other_states_of_a_generator():
    assert card(ImageDataGenerator(rotation_range=3)).state == "needs no fit"
    assert card(ImageDataGenerator())["options"] == "all at their defaults"
    datagen = ImageDataGenerator(featurewise_center=True)
    datagen.mean = np.array([1.0, 2.0, 3.5])
    shown = card(datagen)
    assert (shown.state, shown["mean"]) == ("statistics assigned", "[1, 2, 3.5], assigned")
    datagen.fit(X)
    datagen.mean = np.zeros((16, 16, 3))
    assert card(datagen)["mean"] == "of shape 16×16×3, assigned"


def test_subclasses_have_their_own_name():
    class Mine(ImageDataGenerator):
        pass

    assert repr(Mine(rotation_range=3)) == "Mine(rotation_range=3) <needs no fit>"
    assert card(Mine()).title == "Mine"


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_statistics(data_format, channels):
    images = np.concatenate([X, X], axis=3)[..., :channels]
    given = images if data_format == "channels_last" else np.moveaxis(images, 3, 1)
    datagen = ImageDataGenerator(featurewise_center=True, rescale=1 / 255, data_format=data_format)
    statistics = datagen.fit(given, histogram=True).statistics
    shown = card(statistics)
    assert shown["fitted on"] == f"40 of {'×'.join(map(str, given.shape[1:]))} uint8, {data_format}"
    std = (images / 255).reshape(-1, channels).std(axis=0)
    assert shown["std"] == f"[{', '.join(f'{each:.6g}' for each in std)}]"
    assert shown["histogram"] == f"of {int(images.max()) - int(images.min()) + 1} values"
    assert (shown.state, shown["rescaled"]) == ("complete", "by 0.00392157")
    part = dataclasses.replace(statistics, is_complete=False)
    assert card(part).state == "of a part"
    assert "fitted on a part" in repr(part)


def test_statistics_that_whiten():
    datagen = ImageDataGenerator(featurewise_center=True, zca_whitening=True).fit(X, zca_components=7)
    shown = card(datagen.statistics)
    assert shown["ZCA"].startswith("of rank 7 in 768, epsilon 1e-06; ")
    share = 100 * datagen.statistics.whitening.captured
    assert f"{share:.4g} % of the variance, by the route 'samples'" in shown["ZCA"]
    assert card(datagen)["ZCA"] == shown["ZCA"]


# --- sources -----------------------------------------------------------------------------------------------------


def test_sources(array, tmp_path):
    size = f"40 of 16×16×3 uint8, {X.nbytes / 1000:.1f} kB decoded"
    numpy = card(open_images(X))
    assert (numpy.title, numpy["images"], numpy["stored"]) == ("NumpySource", size, "in memory")
    stored = card(open_images(array))
    assert (stored.title, stored["images"]) == ("ZarrSource", size)
    assert stored["stored"] == "Zarr, chunks of 3×8×16×3 in shards of 9×16×16×3"
    assert stored["at"].endswith("x.zarr")
    assert {"40", "16", "3"} <= set(stored.labels)
    drawn = open_images(array)._repr_html_()
    for line in da.from_array(X, chunks=(3, 8, 16, 3)).to_svg(size=SIZE).split("\n")[1:-1]:
        assert line in drawn
    graph = card(open_images(da.from_array(X, chunks=(7, 8, 16, 3))))
    assert graph["stored"] == "computed by a graph in 12 chunks of up to 7×8×16×3"
    files = ImageDataGenerator().flow_from_directory(write_folder(tmp_path / "f"), target_size=(16, 16)).source
    assert card(files)["images"] == "6 of 16×16×3 uint8, 4.61 kB decoded"
    assert card(files)["stored"] == "files, decoded when they are read"
    cached = with_cache(open_images(array), "memory")
    cached.read(0, 2)
    cached.read(0, 2)
    assert card(cached)["stored"] == f"{stored['stored']}; cached in memory, 1 hits and 1 misses"
    for source in (open_images(X), open_images(array), files, cached):
        line = repr(source)
        assert line.startswith(f"<{type(source).__name__} {source.locator}: {source.shape[0]} images of ")
        assert "\n" not in line


def test_a_source_of_somebody_else_that_cannot_be_read():
    class Broken(Source):
        shape, dtype, natural_rows, locator = (4, 8, 8, 1), np.dtype(np.float32), 2, "nowhere"

        def read(self, start, stop):
            raise OSError("not for a card")

    shown = card(Broken())
    assert (shown["images"], shown["stored"], shown["at"]) == (
        "4 of 8×8×1 float32, 1.02 kB decoded",
        "2 images together",
        "nowhere",
    )
    assert repr(Broken()) == "<Broken nowhere: 4 images of 8×8×1 float32, 1.02 kB decoded, 2 images together>"


# --- iterators ---------------------------------------------------------------------------------------------------


def test_iterators(array, tmp_path):
    datagen = ImageDataGenerator(**OPTIONS).fit(X)
    batches = datagen.flow(array, {"kind": Y, "place": np.zeros((40, 2))}, batch_size=16, seed=3, masks=X[..., :1])
    next(batches)
    assert "so far" not in card(batches)  # rates are not known before the second
    next(batches)
    shown = card(batches)
    assert (shown.title, shown.state) == ("NumpyArrayIterator", "fitted")
    assert shown["epoch"] == "40 samples in 3 batches of 16"
    assert shown["order"] == "shuffle 'block', seed 3"
    assert shown["next"] == "batch 2 of epoch 0"
    assert shown["y['kind']"] == "int64 of shape (40,)"
    assert shown["y['place']"] == "float64 of shape (40, 2)"
    assert shown["masks"] == "16×16×1 uint8"
    assert shown["batches"] == "float32, augmented and standardised"
    assert shown["so far"].startswith("32 images: ")
    assert repr(batches) == ("<NumpyArrayIterator: 40 samples, 3 batches of 16, shuffle='block', seed=3, epoch 0>")
    rank = datagen.flow(X, batch_size=4, seed=3, shard=(1, 2))
    assert card(rank)["epoch"] == "40 samples in 5 batches of 4 for rank 1 of 2"
    folder = write_folder(tmp_path / "f")
    (folder / "dog" / "bad.png").write_bytes(b"not a picture")
    with pytest.warns(UserWarning, match="cannot be read"):
        files = datagen.flow_from_directory(folder, target_size=(16, 16), on_error="skip")
    shown = card(files)
    assert shown["classes"] == "2: cat, dog"
    assert shown["bad files"].startswith("1; the first is ")
    frame = pd.DataFrame({"filename": ["cat/0.png", "dog/1.png"], "class": ["cat", "dog"]})
    table = datagen.flow_from_dataframe(frame, folder, target_size=(16, 16))
    assert card(table)["images"].startswith("2 of 16×16×3 uint8")


def test_an_iterator_of_an_unfitted_generator_says_so():
    batches = ImageDataGenerator(featurewise_center=True).flow(X)
    assert card(batches).state == "not fitted"


def test_iterators_that_are_keras_data_sets():
    import keras

    batches = ImageDataGenerator(rotation_range=3).flow(X, batch_size=8, shuffle=False, seed=1)
    assert isinstance(batches, keras.utils.PyDataset)
    assert card(batches)["epoch"] == "40 samples in 5 batches of 8"


# --- plans, stores, findings -------------------------------------------------------------------------------------


def test_plans_say_on_a_card_what_their_text_says(array, tmp_path):
    datagen = ImageDataGenerator(**OPTIONS)
    plans = [
        datagen.plan_fit(array),
        datagen.flow(array, batch_size=16, seed=1).plan(),
        datagen.plan_materialize(array, tmp_path / "m.zarr"),
    ]
    for plan in plans:
        shown = card(plan)
        assert shown.title == type(plan).__name__
        assert str(plan).splitlines() == [f"{name:9} {text}" for name, text in shown.facts]
        assert repr(plan).startswith(f"<{shown.title}: ")
        assert "\n" not in repr(plan)
    assert card(plans[0])["images"] == "40; 0.000 GB decoded"
    assert card(plans[1])["epoch"] == "3 batches of 16, 40 images, 0.1 MB"
    assert card(plans[2])["store"] == str(tmp_path / "m.zarr")


def test_a_store_and_its_report(array, tmp_path):
    datagen = ImageDataGenerator(**OPTIONS).fit(X)
    report = datagen.materialize(array, tmp_path / "m.zarr", y=Y, epochs=2, seed=5, chunk_rows=3, shard_rows=9)
    shown = card(report)
    assert (shown.state, shown["hash"], shown["store"]) == ("complete", report.store_hash, str(tmp_path / "m.zarr"))
    assert shown["images"] == f"80, {2 * X.nbytes / 1000:.1f} kB decoded"
    assert str(report).splitlines()[0] == f"images    80, {2 * X.nbytes / 1000:.1f} kB decoded"
    again = datagen.materialize(array, tmp_path / "m.zarr", y=Y, epochs=2, seed=5, chunk_rows=3, shard_rows=9)
    assert card(again)["written"] == "nothing: all were there already"
    plan = datagen.plan_materialize(array, tmp_path / "m.zarr", y=Y, epochs=2, seed=5, chunk_rows=3, shard_rows=9)
    assert card(plan).state == "all there already"
    shown = card(open_materialized(tmp_path / "m.zarr"))
    assert (shown.title, shown.state) == ("MaterializedStore", "complete")
    assert shown["images"] == "40 × 2 copies"
    assert shown["each"] == "16×16×3 uint8"
    assert shown["stored"] == "Zarr, chunks of 3×16×16×3 in shards of 9×16×16×3"
    assert shown["labels"] == "int64 of shape (40,)"
    assert shown["seed"] == "5 (seeding version 1)"
    assert shown["options"] == "featurewise_center=True, rotation_range=25, zoom_range=(0.8, 1.2)"
    assert str(array) in shown["source"]
    assert shown["hash"] == report.store_hash
    assert "80" in shown.labels


def test_an_incomplete_store(array, tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        raise Stop

    with pytest.raises(Stop):
        ImageDataGenerator().materialize(array, tmp_path / "m.zarr", progress=stop, chunk_rows=3, shard_rows=9)
    shown = card(open_materialized(tmp_path / "m.zarr", allow_incomplete=True))
    assert shown.state == "incomplete"


def test_findings(store):
    found = daskaug.verify(store)
    assert card(found).state == "nothing is wrong"
    damaged = next(path for path in sorted((store / "images/c").rglob("*")) if path.is_file())
    damaged.unlink()
    found = daskaug.verify(store)
    shown = card(found)
    assert shown.state == f"{len(found.findings)} finding{'s' if len(found.findings) > 1 else ''}"
    assert shown["WRONG"] == str(found.findings[-1])
    assert (
        repr(found) == f"<Verification: store {store}, 80 images in 9 shards, {found.objects} objects: {shown.state}>"
    )


# --- what a card must not do -------------------------------------------------------------------------------------


def test_a_card_reads_nothing(store, array, tmp_path, monkeypatch):
    datagen = ImageDataGenerator(**OPTIONS).fit(X)
    folder = write_folder(tmp_path / "f")
    described = [
        open_images(array),
        open_images(da.from_array(X, chunks=(7, 8, 16, 3)).map_blocks(lambda block: 1 // (block * 0))),
        datagen.flow(array, Y, seed=1),
        datagen.flow_from_directory(folder, target_size=(16, 16)),
        open_materialized(store),
        open_materialized(store).flow(seed=1),
    ]
    before = [each._repr_html_() for each in described]
    for path in (store, array, folder):
        shutil.rmtree(path)

    def refuse(*arguments, **options):
        raise AssertionError("a card used the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert [each._repr_html_() for each in described] == before
    assert not any("cannot be described" in each for each in before)


def test_a_card_changes_nothing():
    batches = ImageDataGenerator(rotation_range=9).flow(X, batch_size=8, seed=1)
    expected = next(ImageDataGenerator(rotation_range=9).flow(X, batch_size=8, seed=1))
    batches._repr_html_()
    repr(batches)
    assert (batches.epoch, batches.batch_index, batches.total_batches_seen) == (0, 0, 0)
    assert np.array_equal(next(batches), expected)


def test_a_broken_store_has_a_card(store):
    opened = open_materialized(store)
    del opened.manifest["contract"]["config"]
    shown = read(opened._repr_html_())
    assert (shown.title, shown.state) == ("MaterializedStore", "cannot be described")
    assert "config" in shown["error"]


def test_cards_load_no_dask_and_no_matplotlib():
    code = (
        "import sys; from daskaug import ImageDataGenerator as G; G()._repr_html_(); repr(G()); "
        "print(sorted({'dask', 'matplotlib', 'zarr'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_shown_as_text(name, tmp_path):
    def function(image):
        return image

    function.__qualname__ = name
    printable = "".join(each for each in name if each.isprintable() and each != "/")[:200]
    shown_name = name.replace("\x00", "")
    kind = type(shown_name.encode("utf-8", "replace").decode(), (ImageDataGenerator,), {})
    datagen = kind(preprocessing_function=function, featurewise_center=True)
    folder = write_folder(tmp_path / printable, (printable, "dog"))
    zarr.create_array(folder / "x.zarr", data=X, chunks=(3, 8, 16, 3))
    batches = datagen.flow(folder / "x.zarr", {name: Y}, seed=1)
    files = ImageDataGenerator().flow_from_directory(folder, classes=[printable, "dog"], target_size=(16, 16))
    for each in (datagen, batches, open_images(folder / "x.zarr"), files):
        assert card(each).facts
    ImageDataGenerator().materialize(folder / "x.zarr", folder / "m.zarr", shard_rows=9, chunk_rows=3)
    next(path for path in sorted((folder / "m.zarr/images/c").rglob("*")) if path.is_file()).unlink()
    found = daskaug.verify(folder / "m.zarr")
    assert card(found)["store"].startswith(str(folder)[:40])
    assert card(files)["classes"].startswith(f"2: {printable[:40]}")
