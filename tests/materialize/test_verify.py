"""``daskaug.verify``: whatever is damaged is found, and named; what is whole is left in peace."""

from __future__ import annotations

import shutil
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr

import daskaug
from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError, SourceError, StoreError
from daskaug.materialize import find_faults, info
from daskaug.materialize.layout import DIGEST, MANIFEST, NBYTES
from tests import pictures
from tests.clusters import two_workers

X, Y = pictures.tiles(16, 40), np.arange(40) % 5
OPTIONS = {"rotation_range": 25, "zoom_range": 0.2, "horizontal_flip": True, "brightness_range": (0.7, 1.3)}
CUT = {"chunk_rows": 3, "shard_rows": 9}  # nine shards for two copies of the images
MASKS = (X[..., :1] > 100).astype(np.uint8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with the source, ``x.zarr``, and what was made of it, ``m.zarr``."""
    folder = tmp_path_factory.mktemp("whole")
    zarr.create_array(folder / "x.zarr", data=X, chunks=(7, 8, 16, 3))
    ImageDataGenerator(**OPTIONS).materialize(folder / "x.zarr", folder / "m.zarr", y=Y, epochs=2, seed=5, **CUT)
    return folder


@pytest.fixture
def store(whole, tmp_path) -> Path:
    """A copy to damage; its source stays where it is."""
    return Path(shutil.copytree(whole / "m.zarr", tmp_path / "m.zarr"))


def shard(store: Path, number: int, name: str = "images") -> Path:
    return next(path for path in (store / name / "c" / str(number), *(store / name / "c").rglob("*")) if path.is_file()
                and path.relative_to(store / name / "c").parts[0] == str(number))  # fmt: skip


def edit_manifest(store: Path, change) -> None:
    group = zarr.open_group(store)
    manifest = dict(group.attrs[MANIFEST])
    change(manifest)
    group.attrs[MANIFEST] = manifest


def found(store: Path, **options) -> list[str]:
    return [f"{each.kind} | {each}" for each in daskaug.verify(store, **options).findings]


# --- what is whole -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_a_whole_store_has_no_findings(whole, full):
    result = daskaug.verify(whole / "m.zarr", full=full)
    assert result.ok, str(result)
    assert (result.rows, result.shards, result.shards_read) == (80, 9, 9)
    assert result.samples == (80 if full else 16)
    assert result.not_checked == ()
    assert result.store_hash == daskaug.open_materialized(whole / "m.zarr").store_hash
    assert str(result).endswith("nothing is wrong")


def test_black_images_with_labels_0_are_whole(tmp_path):
    black = np.zeros((40, 16, 16, 3), np.uint8)
    ImageDataGenerator().materialize(black, tmp_path / "m.zarr", y=np.zeros(40, np.int64), seed=0, **CUT)
    result = daskaug.verify(tmp_path / "m.zarr", full=True, source=black)
    assert result.ok, str(result)
    assert result.samples == 40


CASES = {
    "floats": ({}, {"dtype": "float32"}),
    "standardised": ({"featurewise_center": True, "featurewise_std_normalization": True}, {"standardize": True}),
    "samplewise": ({"samplewise_center": True, "samplewise_std_normalization": True}, {"standardize": True}),
    "whitened": ({"zca_whitening": True}, {"standardize": True}),
    "splines": ({"interpolation_order": 3}, {}),
    "keras": ({"compat": "keras"}, {}),
    "weights": ({}, {"y": Y, "sample_weight": Y / 10}),
    "ids": ({}, {"ids": np.arange(40)[::-1] + 1000}),
    "balanced": ({}, {"y": np.minimum(Y, 1), "balance": True}),
}


@pytest.mark.filterwarnings("ignore:This ImageDataGenerator specifies:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_store_is_made_again(case, tmp_path):
    options, how = CASES[case]
    datagen = ImageDataGenerator(**OPTIONS | options)
    if datagen.config.needs_statistics:
        datagen.fit(X)
    datagen.materialize(X, tmp_path / "m.zarr", epochs=2, seed=3, **CUT, **how)
    result = daskaug.verify(tmp_path / "m.zarr", full=True, source=X)
    assert result.ok, str(result)
    assert result.samples == result.rows >= 80
    other = X.copy()
    other[:, 4:8] ^= 255
    assert not daskaug.verify(tmp_path / "m.zarr", source=other).ok


def test_masks_are_made_again_where_they_are_handed_in(tmp_path):
    ImageDataGenerator(**OPTIONS).materialize(X, tmp_path / "m.zarr", masks=MASKS, seed=3, **CUT)
    result = daskaug.verify(tmp_path / "m.zarr", source=X, masks=MASKS, full=True)
    assert (result.ok, result.not_checked, result.samples) == (True, (), 40)
    without = daskaug.verify(tmp_path / "m.zarr", source=X)
    assert without.ok
    assert "masks=" in without.not_checked[0]
    masks = daskaug.verify(tmp_path / "m.zarr", source=X, masks=1 - MASKS).findings
    assert {finding.kind for finding in masks} == {"masks"}


def test_what_was_appended_is_checked_too(tmp_path):
    datagen = ImageDataGenerator(**OPTIONS)
    datagen.materialize(X[:25], tmp_path / "m.zarr", y=Y[:25], epochs=2, seed=5, **CUT)
    datagen.materialize(X, tmp_path / "m.zarr", y=Y, epochs=2, seed=5, append=True, **CUT)
    result = daskaug.verify(tmp_path / "m.zarr", source=X, full=True)
    assert result.ok, str(result)
    assert (result.rows, result.samples) == (80, 80)
    assert result.store_hash == daskaug.open_materialized(tmp_path / "m.zarr").store_hash
    shard(tmp_path / "m.zarr/parts/00001", 1).unlink()
    (message,) = found(tmp_path / "m.zarr", source=X)
    assert message.startswith("missing | parts/00001 shard 1 of images")


def negative(image: np.ndarray) -> np.ndarray:
    return 255 - image


def test_a_function_that_cannot_be_imported_is_asked_for(tmp_path):
    datagen = ImageDataGenerator(preprocessing_function=lambda image: 255 - image, **OPTIONS)
    datagen.materialize(X, tmp_path / "m.zarr", standardize=True, seed=1)
    with pytest.raises(ConfigError, match="preprocessing_function"):
        daskaug.verify(tmp_path / "m.zarr", source=X)
    assert daskaug.verify(tmp_path / "m.zarr", source=X, preprocessing_function=negative).ok
    datagen.materialize(X, tmp_path / "raw.zarr", seed=1)  # is for the reader
    assert daskaug.verify(tmp_path / "raw.zarr", source=X).ok


def test_a_source_in_memory_is_not_there_any_more(tmp_path):
    ImageDataGenerator(**OPTIONS).materialize(X, tmp_path / "m.zarr", seed=1)
    result = daskaug.verify(tmp_path / "m.zarr")
    assert result.ok
    assert result.samples == 0
    assert "as `source`" in str(result)
    assert str(result).endswith("nothing is wrong in what was checked")
    assert str(daskaug.verify(tmp_path / "m.zarr", source=X)).endswith("nothing is wrong")


def test_files_cannot_be_opened_by_their_address_alone(tmp_path):
    from daskaug.ingest import Reading, ingest
    from tests.files import write_classes

    root = write_classes(tmp_path / "photos", 3)
    ingest(root, tmp_path / "m.zarr", Reading(target_size=(32, 32)))
    result = daskaug.verify(tmp_path / "m.zarr", full=True)
    assert (result.ok, result.samples) == (True, 0)
    (note,) = result.not_checked
    for said in ("as `source`", "target size", "colour mode"):
        assert said in note
    assert str(result).endswith("nothing is wrong in what was checked")
    grey = Reading(target_size=(32, 32), color_mode="grayscale").open(root)
    with pytest.raises(SourceError, match="colour mode"):
        daskaug.verify(tmp_path / "m.zarr", source=grey)


def test_a_source_may_move_and_be_cut_otherwise(whole):
    for source in (X, da.from_array(X, chunks=(6, 8, 16, 3)) + np.uint8(0)):
        assert daskaug.verify(whole / "m.zarr", source=source).samples == 16


def test_stores_by_url_and_as_objects(tmp_path):
    datagen = ImageDataGenerator(**OPTIONS)
    for place in ("memory://verified/m.zarr", zarr.storage.MemoryStore()):
        datagen.materialize(X, place, seed=1, **CUT)
        assert daskaug.verify(place, source=X, full=True).ok
        group = zarr.open_group(place, mode="r+")
        group["images"][3] = X[0]
        assert any(each.startswith("content | shard 0 of images") for each in found(place, source=X))


def test_on_a_cluster(store):
    zarr.open_array(store / "y")[13] = 4
    expected = found(store, full=True)
    with two_workers() as local, local.get_client():
        assert found(store, full=True) == expected


# --- what is damaged ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_a_truncated_shard(store, full):
    path = shard(store, 2)
    path.write_bytes(path.read_bytes()[:-100])
    sizes, unreadable = found(store, full=full)
    assert sizes.startswith("size | shard 2 of images: its object has")
    assert unreadable.startswith("unreadable | shard 2 of images")


def test_every_flipped_byte_of_a_shard(store):
    path = shard(store, 4)
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 12).astype(int):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        (message,) = found(store)
        assert message.startswith("unreadable | shard 4 of images"), place


@pytest.mark.parametrize("name", ["images", "y", "sample_id", "source_hash"])
def test_a_deleted_object(store, name):
    shard(store, 3, name).unlink()
    (message,) = found(store)
    assert message == f"missing | shard 3 of {name}: its object is not there"


@pytest.mark.parametrize("damage", ["deleted", "damaged"])
def test_a_lost_commit_record(store, damage):
    path = shard(store, 5, DIGEST)
    path.unlink() if damage == "deleted" else path.write_bytes(path.read_bytes()[:-1])
    (message,) = found(store)
    assert message.startswith("commit record | shard 5: it has no commit record")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["deleted", "damaged"])
def test_a_lost_record_of_sizes(store, damage):
    path = shard(store, 5, NBYTES)
    path.unlink() if damage == "deleted" else flip(path)
    (message,) = found(store)
    assert message.startswith(f"commit record | shard 5: its record in {NBYTES} cannot be read")


def test_a_damaged_label_in_a_shard_that_is_not_sampled(store):
    flip(shard(store, 5, "y"))
    messages = found(store, sample=0)
    assert [each.split(":")[0] for each in messages] == ["unreadable | array y"]


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: b""], ids=["truncated", "empty"])
def test_a_damaged_description_is_named(store, damage):
    path = store / "zarr.json"
    path.write_bytes(damage(path.read_bytes()))
    for look in (daskaug.verify, info, find_faults, lambda place: daskaug.replay(place, 0)):
        with pytest.raises(StoreError, match=r"m\.zarr/zarr\.json.* is damaged.*copy of this file"):
            look(store)


def test_damaged_commit_records_are_a_fault(store):
    flip(shard(store, 5, DIGEST))
    (fault,) = find_faults(store)
    assert "1 of 9 commit records" in fault
    assert "shard 5" in fault


def test_damaged_statistics_of_a_standardised_store(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X)
    datagen = ImageDataGenerator(featurewise_center=True).fit(X)
    datagen.materialize(tmp_path / "x.zarr", tmp_path / "m.zarr", standardize=True)
    (path,) = (file for file in (tmp_path / "m.zarr/statistics/mean/c").rglob("*") if file.is_file())
    flip(path)
    result = daskaug.verify(tmp_path / "m.zarr")
    assert [(each.kind, each.where) for each in result.findings] == [("unreadable", "statistics")]
    assert "statistics" in result.not_checked[0]
    assert result.samples == 0
    assert "cannot be read" in info(tmp_path / "m.zarr")


def test_swapped_shards(store):
    """Also where all of their arrays are swapped, and sizes as well: then each is the other, whole."""
    names = [path.name for path in store.iterdir() if (path / "c").is_dir() and path.name != DIGEST]
    for name in names:
        one, other = shard(store, 2, name), shard(store, 7, name)
        kept = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(kept)
    messages = found(store)
    assert any("content | shard 2" in each and "it is that of shard 7" in each for each in messages), messages
    assert any("content | shard 7" in each and "it is that of shard 2" in each for each in messages), messages


def test_swapped_images_are_found_by_a_sample_of_three(store):
    one, other = shard(store, 2), shard(store, 3)
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    messages = found(store, sample=3)
    for number in (2, 3):
        assert any(each.startswith(f"size | shard {number} of images") for each in messages)
    assert any(each.startswith("pixels | row 2") and "sample id 2" in each for each in messages), messages


def test_an_edited_label(store):
    labels = zarr.open_array(store / "y")
    labels[13] = (labels[13] + 1) % 5
    messages = found(store)
    assert any(each.startswith("columns | row 13 of y (shard 1)") for each in messages), messages
    assert any(each.startswith("content | shard 1") for each in messages), messages
    assert all("shard 1" in each or " y" in each for each in messages)


def test_an_edited_label_of_a_single_copy(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X)
    ImageDataGenerator(**OPTIONS).materialize(tmp_path / "x.zarr", tmp_path / "m.zarr", y=Y, seed=5, **CUT)
    labels = zarr.open_array(tmp_path / "m.zarr/y")
    labels[30] = (labels[30] + 1) % 5
    messages = found(tmp_path / "m.zarr", full=True)
    assert any(each.startswith("content | shard 3") for each in messages)
    assert any(each.startswith("columns | array y") for each in messages)


def test_an_edited_image(store):
    images = zarr.open_array(store / "images")
    image = images[50]
    image[3, 3] ^= 1
    images[50] = image
    messages = found(store, full=True)
    assert any(each.startswith("content | shard 5 of images") for each in messages), messages
    row = "row 50 of images (shard 5, sample id 10, epoch 1, source row 10)"
    assert any(each.startswith(f"pixels | {row}") for each in messages), messages


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["contract"].update(seed=6),
        lambda manifest: manifest["contract"]["config"].update(rotation_range=26.0),
    ],
    ids=["seed", "option"],
)
def test_an_edited_manifest(store, change):
    edit_manifest(store, change)
    result = daskaug.verify(store)
    assert {finding.kind for finding in result.findings} == {"manifest"}
    assert "follows from its seed" in str(result)


def test_a_manifest_that_lies_about_its_hash(store):
    edit_manifest(store, lambda manifest: manifest.update(store_hash="0" * 64))
    (message,) = found(store)
    assert message.startswith("manifest | manifest: ")


def test_edited_statistics(tmp_path):
    ImageDataGenerator(featurewise_center=True).fit(X).materialize(X, tmp_path / "m.zarr")
    zarr.open_array(tmp_path / "m.zarr/statistics/mean")[...] = 3
    (message,) = found(tmp_path / "m.zarr")
    assert message.startswith("statistics | statistics")


def test_a_changed_source_is_told_from_a_wrong_store(store):
    other = X.copy()
    other[7] = 255 - other[7]
    result = daskaug.verify(store, full=True, source=other)
    assert {(finding.kind, finding.where) for finding in result.findings} == {("source", "source row 7")}
    images = zarr.open_array(store / "images")
    images[8] = 255 - images[8]
    kinds = {finding.kind: finding.where for finding in daskaug.verify(store, full=True, source=other).findings}
    assert kinds["source"] == "source row 7"
    assert kinds["pixels"].startswith("row 8 of images")


def test_a_missing_array(store):
    shutil.rmtree(store / "epoch")
    (message,) = found(store)
    assert message == "structure | array epoch: it is not there"


def test_an_unfinished_store(tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done >= 30:
            raise Stop

    with pytest.raises(Stop):
        ImageDataGenerator(**OPTIONS).materialize(X, tmp_path / "m.zarr", progress=stop, **CUT)
    messages = found(tmp_path / "m.zarr", source=X)
    assert messages[0].startswith("manifest | manifest: the run that wrote the store has not finished")
    assert all(each.startswith("commit record") for each in messages[1:])


def test_shards_that_are_not_written_are_told_in_runs(store):
    for number in (2, 3, 4, 7):
        shard(store, number, DIGEST).unlink()
    edit_manifest(store, lambda manifest: manifest.update(complete=False))
    _, run, single = found(store)
    assert run.startswith("commit record | shards 2 to 4: they have no commit records")
    assert single.startswith("commit record | shard 7: it has no commit record")


# --- bad calls ---------------------------------------------------------------------------------------------------


def test_what_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="no Zarr store"):
        daskaug.verify(tmp_path / "nothing.zarr")
    zarr.create_group(tmp_path / "group.zarr")
    with pytest.raises(StoreError, match="no materialised store"):
        daskaug.verify(tmp_path / "group.zarr")


def test_bad_arguments(whole):
    with pytest.raises(ConfigError, match="sample"):
        daskaug.verify(whole / "m.zarr", sample=-1)
    with pytest.raises(SourceError, match="was made from"):
        daskaug.verify(whole / "m.zarr", source=X[:10])
