"""The commands ``ingest`` and ``check``."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import zarr
from PIL import Image
from typer.testing import CliRunner

from daskaug import open_images, open_materialized
from daskaug.cli import app
from daskaug.ingest import ATTRIBUTE
from daskaug.iterators.directory import ids_of_paths
from tests import files, pictures

run = CliRunner(env={"COLUMNS": "200"})


def invoke(*arguments, code=0):
    result = run.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_folder_becomes_a_store_with_labels_and_names(tmp_path):
    root, images, labels = files.write_digits(tmp_path / "digits", 60)
    result = invoke("ingest", root, tmp_path / "store.zarr", "--color-mode", "grayscale")
    assert "Found 60 images belonging to 10 classes." in result.output
    assert "60 images of 8×8×1 uint8" in result.output
    group = zarr.open_group(tmp_path / "store.zarr", mode="r")
    assert np.array_equal(open_images(tmp_path / "store.zarr").read(0, 60), images)
    assert np.array_equal(group["y"][:], labels)
    assert group["class_name"][:].tolist() == [str(k) for k in range(10)]
    names = group["file_name"][:].tolist()
    assert [name.partition("/")[0] for name in names] == [str(label) for label in labels]
    assert np.array_equal(group["sample_id"][:], ids_of_paths(names))
    assert group["images"].shards is not None
    assert group.attrs[ATTRIBUTE]["bad_files"] == []
    assert open_materialized(tmp_path / "store.zarr").n == 60
    assert "nothing is wrong" in invoke("check", tmp_path / "store.zarr").output


def test_existing_store_is_refused_and_left_alone(tmp_path):
    root, _, _ = files.write_digits(tmp_path / "digits", 12)
    invoke("ingest", root, tmp_path / "store.zarr")
    options = ("--color-mode", "grayscale")
    assert "made with something else" in invoke("ingest", root, tmp_path / "store.zarr", *options, code=1).stderr
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    assert "exists already" in invoke("ingest", root, tmp_path / "other", code=1).stderr
    assert (tmp_path / "other" / "mine.txt").read_text() == "mine"


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """Folder, store and images of a run that met a bad file, which has been mended since."""
    monkeypatch.setattr("daskaug.materialize.layout.SHARD_NBYTES", 4 * 8 * 8)
    monkeypatch.setattr("daskaug.materialize.layout.CHUNK_NBYTES", 8 * 8)
    root, images, _ = files.write_digits(tmp_path / "digits", 13)
    store, path = tmp_path / "store.zarr", sorted(root.glob("*/*.png"))[9]
    content = path.read_bytes()
    path.write_bytes(b"")
    stderr = invoke("ingest", root, store, "--color-mode", "grayscale", code=1).stderr
    assert f"{path} (row 9): the file is empty" in stderr
    assert "or pass --on-error skip or --on-error replace" in stderr
    assert "the same call of `daskaug ingest` does the rest" in stderr
    path.write_bytes(content)
    return root, store, images


def test_interrupted_run_is_completed(interrupted):
    root, store, images = interrupted
    for _ in range(2):  # the second time there is nothing to do
        invoke("ingest", root, store, "--color-mode", "grayscale")
        assert np.array_equal(open_images(store).read(0, 13), images)
    shutil.rmtree(store / "images" / "c")
    invoke("ingest", root, store, "--color-mode", "grayscale")
    assert np.array_equal(open_images(store).read(0, 13), images)


def test_a_bad_file_leaves_nothing_behind_where_nothing_was_done(tmp_path):
    """So that the same command with another way about bad files is no other store."""
    files.write_bad(tmp_path / "data" / "x")
    (tmp_path / "data" / "x" / "notes.txt").write_text("no image")
    told = invoke("ingest", tmp_path / "data", tmp_path / "store.zarr", code=1).stderr
    assert "or pass --on-error skip" in told
    assert "is begun" not in told
    assert not (tmp_path / "store.zarr").exists()
    told = invoke("ingest", tmp_path / "data", tmp_path / "store.zarr", "--on-error", "skip").stderr
    assert "left out, for their endings: 1 .txt (png, jpg" in told


def test_table_with_numbers_as_labels(tmp_path):
    images, labels = (part[:20] for part in pictures.digits())
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i:02}.png")
    table = pd.DataFrame({"name": [f"{i:02}.png" for i in range(20)], "age": labels / 3})
    table.to_csv(tmp_path / "table.csv", index=False)
    options = ("--x-col", "name", "--y-col", "age", "--color-mode", "grayscale", "--target-size", 16, 8)
    invoke("ingest", tmp_path / "table.csv", tmp_path / "store.zarr", *options)
    store = open_materialized(tmp_path / "store.zarr")
    assert store.images.shape == (20, 16, 8, 1)
    assert np.array_equal(store.images.read(0, 20)[:, ::2], images)
    assert np.array_equal(store.labels, table["age"])
    assert np.array_equal(zarr.open_group(tmp_path / "store.zarr")["sample_id"][:], np.arange(20))


def test_folder_of_images_without_classes(tmp_path):
    tiles = pictures.tiles(16, 5)
    (tmp_path / "tiles").mkdir()
    for i, tile in enumerate(tiles):
        Image.fromarray(tile).save(tmp_path / "tiles" / f"{i}.png")
    invoke("ingest", tmp_path / "tiles", tmp_path / "store.zarr")
    group = zarr.open_group(tmp_path / "store.zarr")
    assert group["file_name"][:].tolist() == [f"{i}.png" for i in range(5)]
    assert "y" not in group
    assert np.array_equal(group["images"][:], tiles)


@pytest.mark.parametrize(("on_error", "rows"), [("skip", 3), ("replace", 9)])
def test_bad_files_are_reported_and_noted_in_the_store(tmp_path, on_error, rows):
    reasons = files.write_bad(tmp_path / "data" / "x")
    # Said once, by the list: a warning, which is an error here, would say it again.
    result = invoke("ingest", tmp_path / "data", tmp_path / "store.zarr", "--on-error", on_error)
    for name in reasons:
        assert result.stderr.count(f"{name} (row ") == 1
    group = zarr.open_group(tmp_path / "store.zarr")
    assert group["images"].shape[0] == rows
    noted = group.attrs[ATTRIBUTE]
    assert sorted(bad["path"].rpartition("/")[2] for bad in noted["bad_files"]) == sorted(reasons)
    assert noted["on_error"] == on_error


def write_tiles(folder, count=4):
    folder.mkdir(parents=True, exist_ok=True)
    for i, tile in enumerate(pictures.tiles(16, count)):
        Image.fromarray(tile).save(folder / f"img{i}.png")
    return folder


def stored_names(store):
    return zarr.open_group(store, mode="r")["file_name"][:].tolist()


def test_hidden_folders_are_left_out(tmp_path):
    flat = write_tiles(tmp_path / "flat")
    write_tiles(flat / ".ipynb_checkpoints", 1)
    invoke("ingest", flat, tmp_path / "flat.zarr")
    assert stored_names(tmp_path / "flat.zarr") == [f"img{i}.png" for i in range(4)]
    output = invoke("check", flat).output
    assert "4 image files in" in output
    assert "1 image files in hidden folders" in output

    write_tiles(tmp_path / "classes" / "cat", 2)
    write_tiles(tmp_path / "classes" / "dog", 2)
    write_tiles(tmp_path / "classes" / "dog" / ".thumbs", 2)
    write_tiles(tmp_path / "classes" / ".git", 2)
    invoke("ingest", tmp_path / "classes", tmp_path / "classes.zarr")
    assert stored_names(tmp_path / "classes.zarr") == ["cat/img0.png", "cat/img1.png", "dog/img0.png", "dog/img1.png"]
    assert zarr.open_group(tmp_path / "classes.zarr")["class_name"][:].tolist() == ["cat", "dog"]
    assert "4 image files in" in invoke("check", tmp_path / "classes").output


def test_images_beside_the_folders_of_classes_are_not_lost_silently(tmp_path):
    root = write_tiles(tmp_path / "root", 2)
    (root / "notes").mkdir()
    invoke("ingest", root, tmp_path / "flat.zarr")  # a folder without images makes no class
    assert stored_names(tmp_path / "flat.zarr") == ["img0.png", "img1.png"]

    write_tiles(root / "cat", 3)
    for on_error in ("raise", "replace"):
        stderr = invoke("ingest", root, tmp_path / "s.zarr", "--on-error", on_error, code=1).stderr
        assert "2 images lie in" in stderr
        assert "img0.png, img1.png" in stderr
    assert not (tmp_path / "s.zarr").exists()
    result = invoke("ingest", root, tmp_path / "s.zarr", "--on-error", "skip")
    assert "2 files could not be used and were left out" in result.stderr
    assert f"{root / 'img1.png'}: it lies beside" in result.stderr
    assert stored_names(tmp_path / "s.zarr") == [f"cat/img{i}.png" for i in range(3)]
    assert len(zarr.open_group(tmp_path / "s.zarr").attrs[ATTRIBUTE]["bad_files"]) == 2
    output = invoke("check", root, code=1).output
    assert "3 image files in" in output
    assert output.count("it lies beside the folders of the classes") == 2


@pytest.fixture
def table_with_gaps(tmp_path):
    write_tiles(tmp_path)
    names = ["img0.png", "gone.png", "img2.png", None, "img3.png"]
    pd.DataFrame({"filename": names, "class": list("abaab")}).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv", tmp_path / "s.zarr"


@pytest.mark.parametrize(("on_error", "rows"), [("skip", [0, 2, 4]), ("replace", [0, 1, 2, 3, 4])])
def test_rows_without_a_file_are_reported(table_with_gaps, on_error, rows):
    table, store = table_with_gaps
    stderr = invoke("ingest", table, store, "--on-error", on_error).stderr
    assert "gone.png (row 1): there is no such file" in stderr
    assert "(row 3): there is no file name" in stderr
    group = zarr.open_group(store, mode="r")
    assert group["sample_id"][:].tolist() == rows
    assert [bool(image.any()) for image in group["images"][:]] == [row not in (1, 3) for row in rows]
    assert [bad["row"] for bad in group.attrs[ATTRIBUTE]["bad_files"]] == [1, 3]


def test_rows_without_a_file_are_refused_before_anything_is_written(table_with_gaps):
    table, store = table_with_gaps
    stderr = invoke("ingest", table, store, code=1).stderr
    assert "2 of 5 rows name no file that is there" in stderr
    assert "gone.png (row 1): there is no such file" in stderr
    assert not store.exists()
    bad = [line for line in invoke("check", table, code=1).output.splitlines() if line.startswith("BAD")]
    assert ["(row 1): there is no such file" in bad[0], "(row 3): there is no file name" in bad[1]] == [True, True]
    assert len(bad) == 2


def test_interrupted_by_hand(tmp_path, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("daskaug.ingest.ingest", interrupt)
    result = invoke("ingest", tmp_path, tmp_path / "s.zarr", code=130)
    assert "run the same command again to finish" in result.stderr


@pytest.mark.filterwarnings("always:There is no image file")
def test_ingest_without_anything_to_read(tmp_path):
    assert "There is nothing at " in invoke("ingest", tmp_path / "no", tmp_path / "s.zarr", code=1).stderr
    (tmp_path / "empty").mkdir()
    told = invoke("ingest", tmp_path / "empty", tmp_path / "s.zarr", code=1).stderr
    assert "warning: " in told
    assert "There are no image files" in told
    assert not (tmp_path / "s.zarr").exists()


def test_check_of_a_folder_lists_every_bad_file(tmp_path):
    reasons = files.write_bad(tmp_path / "x" / "deeper")
    (tmp_path / "x" / "notes.txt").write_text("no image")
    result = invoke("check", tmp_path, code=1)
    bad = [line for line in result.output.splitlines() if line.startswith("BAD")]
    assert len(bad) == len(reasons)
    for name, reason in reasons.items():
        assert any(f"/{name} (row " in line and reason in line for line in bad)
    assert "files with other endings, which are never read: 1 .txt" in result.output
    for name in reasons:
        (tmp_path / "x" / "deeper" / name).unlink()
    assert "nothing is wrong" in invoke("check", tmp_path).output


def test_check_of_a_table_lists_rows(tmp_path):
    files.write_bad(tmp_path)
    pd.DataFrame({"filename": ["a.png", "no.png", "notes.txt", "empty.png"]}).to_csv(tmp_path / "t.csv", index=False)
    lines = invoke("check", tmp_path / "t.csv", code=1).output.splitlines()
    bad = [line.partition("/")[2].rpartition("/")[2] for line in lines if line.startswith("BAD")]
    assert [line.partition(":")[0] for line in bad] == ["no.png (row 1)", "notes.txt (row 2)", "empty.png (row 3)"]
    assert "--x-col name" in invoke("check", tmp_path / "t.csv", "--x-col", "name", code=1).stderr


def test_check_of_a_store_finds_missing_and_broken_pieces(tmp_path):
    store = tmp_path / "store.zarr"
    images = zarr.create_array(store, name="images", shape=(10, 8, 8, 1), chunks=(2, 8, 8, 1), dtype="uint8")
    images[:] = pictures.digits()[0][:10]
    assert "nothing is wrong" in invoke("check", store).output
    (store / "images" / "c" / "3" / "0" / "0" / "0").unlink()
    (store / "images" / "c" / "1" / "0" / "0" / "0").write_bytes(b"broken")
    output = invoke("check", store, code=1).output
    assert "1 of 5 chunks or shards are not there, the first at (6, 0, 0, 0)" in output
    assert "cannot be read" in output


def test_check_of_an_unfinished_store(interrupted):
    _, store, _ = interrupted
    output = invoke("check", store, code=1).output
    assert "the run that wrote it has not finished" in output
    assert "2 of 4 shards have not been written" in output
    shutil.rmtree(store / "sample_id")
    assert "there is no array 'sample_id'" in invoke("check", store, code=1).output


def test_check_of_nothing(tmp_path):
    assert "no folder, table or store" in invoke("check", tmp_path / "no", code=1).stderr
