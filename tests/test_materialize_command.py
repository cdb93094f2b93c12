"""The commands ``materialize``, ``plan``, ``preview``, ``verify``, ``replay`` and ``info``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import typer
import zarr
from PIL import Image
from typer.testing import CliRunner

from daskaug import ImageDataGenerator, open_materialized
from daskaug.cli import app, running
from tests import pictures
from tests.clusters import two_workers

run = CliRunner(env={"COLUMNS": "200"})
X, Y = pictures.tiles(16, 40), np.repeat([0, 1], [30, 10])
FLAGS = ["--rotation-range", "25", "--zoom-range", "0.2", "--horizontal-flip", "--brightness-range", "0.7", "1.3"]
OPTIONS = {"rotation_range": 25, "zoom_range": 0.2, "horizontal_flip": True, "brightness_range": (0.7, 1.3)}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A group with images and labels."""
    path = tmp_path_factory.mktemp("source") / "x.zarr"
    group = zarr.create_group(path)
    group.create_array("images", data=X, chunks=(7, 8, 16, 3))
    group.create_array("labels", data=Y)
    return path


@pytest.fixture(scope="module")
def made(source, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("made") / "m.zarr"
    invoke("materialize", source, path, *FLAGS, "--y", "labels", "--epochs", 2, "--seed", 5, "--shard-rows", 9)
    return path


def invoke(*arguments: object, code: int = 0):
    done = run.invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    return done


def by_hand(store: Path, x=X, **options) -> str:
    return ImageDataGenerator(**OPTIONS).materialize(x, store, **options).store_hash


# --- materialize -------------------------------------------------------------------------------------------------


def test_it_writes_what_the_method_writes(source, tmp_path):
    done = invoke(
        "materialize", source, tmp_path / "m.zarr", *FLAGS, "--y", "labels", "--epochs", 2, "--seed", 5,
        "--shard-rows", 9, "--chunk-rows", 3, "--codec", "lz4",
    )  # fmt: skip
    expected = by_hand(tmp_path / "n.zarr", y=Y, epochs=2, seed=5, shard_rows=9, chunk_rows=3)
    assert f"hash   {expected}" in done.stdout
    assert "80 images" in done.stdout
    assert "materialize: 80 images" in done.stderr  # no terminal: a log
    assert "images/s" in done.stderr
    again = invoke(
        "materialize", source, tmp_path / "m.zarr", *FLAGS, "--y", source / "labels", "--epochs", 2, "--seed", 5,
        "--shard-rows", 9, "--chunk-rows", 3,
    )  # fmt: skip
    assert "all there already" in again.stdout


def test_options_may_lie_in_a_file_and_flags_go_over_them(source, tmp_path):
    (tmp_path / "options.json").write_text(json.dumps(ImageDataGenerator(**OPTIONS, fill_mode="wrap").to_config()))
    invoke(
        "materialize", source, tmp_path / "m.zarr", "--augment", tmp_path / "options.json", "--fill-mode", "reflect",
        "--no-horizontal-flip", "--width-shift-range", "1,2,4", "--height-shift-range", "3", "--dtype", "float32",
    )  # fmt: skip
    config = open_materialized(tmp_path / "m.zarr").config
    assert config.fill_mode == "reflect"
    assert config.horizontal_flip is False
    assert config.rotation_range == 25
    assert config.brightness_range == (0.7, 1.3)
    assert config.width_shift_range == (1, 2, 4)
    assert config.height_shift_range == 3
    assert isinstance(config.height_shift_range, int)
    assert open_materialized(tmp_path / "m.zarr").images.dtype == np.float32


def test_statistics_of_a_fit_are_stored_and_applied(source, tmp_path):
    invoke("fit", source, "-o", tmp_path / "s.npz")
    flags = ["--featurewise-center", "--featurewise-std-normalization", "--statistics", tmp_path / "s.npz"]
    invoke("materialize", source, tmp_path / "m.zarr", *FLAGS, *flags, "--standardize")
    fitted = ImageDataGenerator(**OPTIONS, featurewise_center=True, featurewise_std_normalization=True).fit(X)
    expected = fitted.materialize(X, tmp_path / "n.zarr", standardize=True).store_hash
    assert open_materialized(tmp_path / "m.zarr").store_hash == expected
    told = invoke("materialize", source, tmp_path / "o.zarr", "--statistics", tmp_path / "s.npz", code=1).stderr
    assert "none of them is on" in told


def test_folders_and_tables_are_read_as_ingest_reads_them(tmp_path):
    for number, image in enumerate(X[:12]):
        folder = tmp_path / "photos" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:02}.png")
    rows = [f"{name}/{n:02}.png,{name}" for n, name in enumerate(("cat", "dog") * 6)]
    (tmp_path / "photos.csv").write_text("\n".join(["filename,class", *(f"photos/{row}" for row in rows)]))
    invoke("materialize", tmp_path / "photos", tmp_path / "f.zarr", "--seed", 1)
    store = open_materialized(tmp_path / "f.zarr")
    assert np.array_equal(store.labels, [0] * 6 + [1] * 6)
    assert np.array_equal(store.images.read(0, 6), X[0:12:2])
    invoke("materialize", tmp_path / "photos.csv", tmp_path / "t.zarr", "--seed", 1)
    store = open_materialized(tmp_path / "t.zarr")
    assert np.array_equal(store.labels, [0, 1] * 6)
    assert np.array_equal(store.images.read(0, 12), X[:12])
    assert "nothing is wrong" in invoke("verify", tmp_path / "f.zarr", "--source", tmp_path / "photos", "--full").stdout


def test_a_store_of_ours_brings_its_labels(made, tmp_path):
    invoke("materialize", made, tmp_path / "again.zarr")
    assert np.array_equal(open_materialized(tmp_path / "again.zarr").labels, np.tile(Y, 2))


def test_balance_and_append(source, tmp_path):
    invoke("materialize", source, tmp_path / "b.zarr", *FLAGS, "--y", "labels", "--balance")
    assert "0: 30, 1: 30" in invoke("info", tmp_path / "b.zarr").stdout
    by_hand(tmp_path / "a.zarr", X[:25], y=Y[:25])
    invoke("materialize", source, tmp_path / "a.zarr", *FLAGS, "--y", "labels", "--append")
    assert np.array_equal(open_materialized(tmp_path / "a.zarr").labels, Y)


def test_the_workers_of_a_scheduler_do_the_work(source, tmp_path):
    with two_workers() as local:
        done = invoke(
            "materialize", source, tmp_path / "m.zarr", *FLAGS, "--shard-rows", 9, "--scheduler",
            local.scheduler_address,
        )  # fmt: skip
    assert by_hand(tmp_path / "n.zarr", shard_rows=9) in done.stdout


INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it may be ignored
from daskaug.materialize import filling
from daskaug.cli import main
written = filling.Filling._write
def interrupted(self, *args):
    kept = []
    def stop(done, total):
        if done > total // 2 and not kept:
            kept.append(os.kill(os.getpid(), signal.SIGINT))
    object.__setattr__(self, "progress", stop)
    return written(self, *args)
filling.Filling._write = interrupted
main()
"""


def test_an_interrupted_run_says_that_it_can_be_finished(source, tmp_path):
    arguments = ["materialize", str(source), str(tmp_path / "m.zarr"), *FLAGS, "--shard-rows", "3"]
    root = str(Path(__file__).parents[1])
    stopped = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert stopped.returncode == 130, stopped.stderr
    assert "can be finished" in stopped.stderr
    assert "same command again" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "NOT complete" in invoke("info", tmp_path / "m.zarr").stdout
    assert by_hand(tmp_path / "n.zarr", shard_rows=3) in invoke(*arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rotation-range", "nan"], "--rotation-range must be"),
        (["--zoom-range", "much"], "`--zoom-range` must be a number"),
        (["--fill-mode", "mirror"], "--fill-mode must be"),
        (["--augment", "none.json"], "--augment none.json"),
        (["--epochs", "0"], "--epochs must be"),
        (["--codec", "zip"], "--codec must be"),
        (["--for", "everyone"], "--for must be"),
        (["--y", "nothing"], "--y"),
        (["--storage-option", "key"], "KEY=VALUE"),
        (["--balance"], "--balance needs the class"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_told_in_one_paragraph(source, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    target = "memory://bucket/m.zarr" if "--storage-option" in arguments else "m.zarr"
    done = invoke("materialize", source, target, *arguments, code=1)
    told = done.stderr.strip().splitlines()[-1]
    assert told.startswith("daskaug materialize: ")
    assert message in told
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_source(tmp_path):
    assert "There is nothing at" in invoke("materialize", tmp_path / "no", tmp_path / "m.zarr", code=1).stderr


# --- plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["plan"], ["materialize", "--plan"]], ids=" ".join)
def test_a_plan_writes_nothing(source, tmp_path, command):
    done = invoke(*command, source, tmp_path / "m.zarr", *FLAGS, "--epochs", 2, "--shard-rows", 9)
    for said in ("80; ", "shards    9 of", "tasks ", "disk      about", "memory    peak about", "time "):
        assert said in done.stdout
    assert list(tmp_path.iterdir()) == []


# --- looking at stores -------------------------------------------------------------------------------------------


def test_verify(made, source, tmp_path):
    assert "nothing is wrong" in invoke("verify", made).stdout
    assert "80 of 80 images from their keys" in invoke("verify", made, "--full", "--source", source).stdout
    assert "2 of 80 images" in invoke("verify", made, "--sample", 2).stdout
    other = zarr.create_array(tmp_path / "other.zarr", data=255 - X)
    told = invoke("verify", made, "--source", other.store_path, code=1).stdout
    assert "the source has changed" in told
    assert "one of them" in invoke("verify", made, "--full", "--sample", 2, code=1).stderr
    assert "no Zarr store" in invoke("verify", tmp_path / "none.zarr", code=1).stderr


def test_replay(made, tmp_path):
    done = invoke("replay", made, 53, "-o", tmp_path / "p.png")
    assert "copy 1 of source row 13" in done.stdout
    assert "theta" in done.stdout
    assert "stored pixels are those that the key makes" in done.stdout
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.width > 3 * 256
    assert "0 to 79" in invoke("replay", made, 80, code=1).stderr


def test_of_a_folder_that_has_grown_no_other_image_is_shown(tmp_path):
    folder, store = tmp_path / "photos", tmp_path / "m.zarr"
    folder.mkdir()
    for number, image in enumerate(X[:5]):
        Image.fromarray(image).save(folder / f"{number}.png")
    invoke("materialize", folder, store, *FLAGS)
    asked = invoke("replay", store, 3)
    assert "Pass that folder or table as --source" in asked.stdout
    assert "copy 0 of source row 3" in asked.stdout
    assert "are those that the key makes" in invoke("replay", store, 3, "--source", folder).stdout
    Image.fromarray(X[9]).save(folder / "1b.png")
    assert "are those that the key makes" in invoke("replay", store, 1, "--source", folder).stdout
    refused = invoke("replay", store, 3, "--source", folder, code=1).stderr
    assert "is another image now" in refused
    assert "as --source" in refused


def test_names_of_classes_travel_from_files_to_what_is_made_of_the_store(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number, image in enumerate(X[:4]):
            Image.fromarray(image).save(tmp_path / "pets" / name / f"{number}.png")
    invoke("ingest", tmp_path / "pets", tmp_path / "x.zarr")
    invoke("materialize", tmp_path / "x.zarr", tmp_path / "m.zarr", *FLAGS)
    expected = {"cat": 0, "dog": 1}
    assert open_materialized(tmp_path / "x.zarr").class_indices == expected
    made = open_materialized(tmp_path / "m.zarr")
    assert made.class_indices == expected
    assert made.flow(seed=1).class_indices == expected
    assert "cat: 4, dog: 4" in invoke("info", tmp_path / "m.zarr").stdout
    augment, store = ImageDataGenerator(rotation_range=5), open_materialized(tmp_path / "x.zarr")
    for number, (x, y) in enumerate(((tmp_path / "x.zarr", "y"), (store, store.labels), (store.flow(seed=1), None))):
        augment.materialize(x, tmp_path / f"{number}.zarr", y=y)
        assert open_materialized(tmp_path / f"{number}.zarr").class_indices == expected
    augment.materialize(store, tmp_path / "own.zarr", y=np.arange(8))
    assert open_materialized(tmp_path / "own.zarr").class_indices is None
    invoke("materialize", tmp_path / "x.zarr", tmp_path / "o.zarr", *FLAGS, "--y", "source_row")
    assert open_materialized(tmp_path / "o.zarr").class_indices is None


@pytest.mark.filterwarnings("always:the store will have no statistics")
def test_who_will_lack_statistics_is_told(source, tmp_path):
    done = invoke("materialize", source, tmp_path / "m.zarr", "--featurewise-center")
    assert "warning: the store will have no statistics" in done.stderr
    told = invoke("info", tmp_path / "m.zarr").stdout
    assert "to be standardised by the reader" in told
    assert "none, and its options need some" in told
    ImageDataGenerator(featurewise_center=True).fit(X).save(tmp_path / "s.npz")
    options = ("--featurewise-center", "--statistics", tmp_path / "s.npz")
    assert "warning" not in invoke("materialize", source, tmp_path / "n.zarr", *options).stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target-size", 8, 8, "--on-error", "skip"], "--target-size, --on-error say how files are read"),
        (["--color-mode", "grayscale"], "--color-mode say how files are read"),
        (["--zca-whitening", "--statistics", "s.npz"], "has not all that these options need: --zca-whitening is on"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*overrides setting of")
def test_what_would_be_ignored_or_missed_is_refused(source, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    ImageDataGenerator(featurewise_center=True).fit(X).save("s.npz")
    assert said in invoke("materialize", source, "m.zarr", *options, code=1).stderr
    assert not Path("m.zarr").exists()


def test_a_store_is_not_made_of_itself(source):
    assert "is where the images come from" in invoke("materialize", source, source, code=1).stderr
    assert sorted(zarr.open_group(source).array_keys()) == ["images", "labels"]


def test_a_plan_refuses_what_the_work_would(made, source, tmp_path):
    told = invoke("plan", source, made, *FLAGS, "--y", "labels", "--epochs", 3, "--seed", 5, "--shard-rows", 9, code=1)
    assert "epochs 2 → 3" in told.stderr
    told = invoke("plan", source, made, *FLAGS, "--epochs", 2, "--seed", 5, "--shard-rows", 9, code=1).stderr
    assert "columns_digest: other content" in told


def test_errors_speak_of_options(source, tmp_path):
    invoke("materialize", source, tmp_path / "m.zarr", *FLAGS)
    told = invoke("materialize", source, tmp_path / "m.zarr", *FLAGS, "--codec", "lz4", code=1).stderr
    assert "--codec zstd, and --codec lz4 was asked for" in told
    assert "Leave --codec out" in told
    told = invoke("materialize", source, tmp_path / "m.zarr", "--seed", 9, code=1).stderr
    assert "seed: 0 → 9; " in told or "; seed: 0 → 9. " in told
    told = invoke("materialize", source, tmp_path / "m.zarr", "--epochs", 0, code=1).stderr
    assert "--epochs must be an integer, 1 or more. Received: --epochs 0." in told
    told = invoke("materialize", "seed=4.zarr", tmp_path / "n.zarr", code=1).stderr
    assert told.startswith("daskaug materialize: There is nothing at 'seed=4.zarr'")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("`layout_for` is odd", "--for is odd"),
        ("with zca_whitening=True", "with --zca-whitening"),
        ("with horizontal_flip=False", "with --no-horizontal-flip"),
        ("with compat=None", "with no --compat"),
        ("pass compat=\"keras\" or fill_mode='wrap'.", "pass --compat keras or --fill-mode wrap."),
        ("Pass target_size=(height, width), please", "Pass --target-size height width, please"),
        ("seed=-3; chunk_rows=1,024: no", "--seed -3; --chunk-rows 1,024: no"),
        ("statistics= is missing", "--statistics is missing"),
        ("options storage_options={'a': 1}", "options storage_options={'a': 1}"),
        ("see /data/seed=4/x.zarr", "see /data/seed=4/x.zarr"),
        ("the same call of materialize()", "the same call of `daskaug materialize`"),
        ("`verify()` and datagen.fit(x)", "`daskaug verify` and datagen.fit(x)"),
    ],
)
def test_what_is_said_of_arguments_is_said_of_options(monkeypatch, said, told):
    command = typer.main.get_command(app).commands["materialize"]
    monkeypatch.setattr(running, "_running", [types.SimpleNamespace(command=command, params={"source": "x.zarr"})])
    assert running.in_options(said) == told


def test_info(made):
    told = invoke("info", made).stdout
    assert "complete; 9 of 9 shards" in told
    assert "0: 60, 1: 20" in told


@pytest.mark.parametrize("kind", ["store", "folder"])
def test_preview(source, tmp_path, kind):
    if kind == "folder":
        (tmp_path / "photos").mkdir()
        for number, image in enumerate(X[:5]):
            Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
        source = tmp_path / "photos"
    picture = tmp_path / "sheet.png"
    invoke("preview", source, "-o", picture, *FLAGS, "--images", 4, "--draws", 3, "--seed", 2)
    with Image.open(picture) as opened:
        sheet = np.asarray(opened.convert("RGB"))
    # 112 pixels for 16: the first original in the first column, what flow shows in the second.
    assert np.array_equal(sheet[8 + 3 : 8 + 98 : 7, 84 + 3 : 84 + 112 : 7], X[0][:14])
    if kind == "store":
        drawn = ImageDataGenerator(**OPTIONS).augment(X, seed=2, standardize=False)[0].compute()
        shown = sheet[8 + 3 : 8 + 98 : 7, 84 + 116 + 3 : 84 + 116 + 112 : 7]
        assert np.abs(shown - np.clip(np.rint(drawn[:14]), 0, 255)).max() == 0
