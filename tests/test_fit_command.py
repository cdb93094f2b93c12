"""``daskaug fit`` on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image
from typer.testing import CliRunner

from daskaug import ImageDataGenerator, Statistics
from daskaug.cli import app
from daskaug.errors import SourceError
from tests import pictures

run = CliRunner(env={"COLUMNS": "200"})
OPTIONS = {"featurewise_center": True, "zca_whitening": True}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(173, 16, 16, 3) uint8 tiles of photographs."""
    return pictures.tiles(16, 173)


@pytest.fixture(scope="module")
def store(images, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("fit") / "x.zarr"
    zarr.create_array(path, data=images, chunks=(20, 16, 16, 3))
    return str(path)


def fit(store: str, out: Path, *options: object, code: int = 0):
    done = run.invoke(app, ["fit", store, "-o", str(out), *map(str, options)])
    assert done.exit_code == code, done.output
    return done


def test_moments(images, store, tmp_path):
    out = tmp_path / "s.npz"
    planned = fit(store, out, "--plan")
    assert "peak about" in planned.stdout
    assert "whitening" not in planned.stdout
    assert not out.exists()
    fit(store, out, "--histogram", "--checkpoint", tmp_path / "c")
    made = ImageDataGenerator(featurewise_center=True).fit(images, histogram=True)
    assert Statistics.load(out) == made.statistics
    assert (tmp_path / "c").exists()
    fit(store, out, "--tolerance", 0.4, "--seed", 1, "--memory-budget", "1e-4")
    assert Statistics.load(out).whitening is None


def test_a_folder_of_files(images, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(images[:20]):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    fit(str(folder), tmp_path / "s.npz")
    made = ImageDataGenerator(featurewise_center=True).fit(images[:20])
    assert Statistics.load(tmp_path / "s.npz").mean == pytest.approx(made.statistics.mean)
    with pytest.raises(SourceError, match=r"photos' is no Zarr store.*flow_from_directory"):
        made.fit(folder)


def test_the_plan_of_a_whitening(images, store, tmp_path):
    out = tmp_path / "s.npz"
    for route, options in (("features", {}), ("randomized", {"zca_components": 20})):
        arguments = ["--zca", "--zca-route", route, "--plan"]
        arguments += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        expected = ImageDataGenerator(**OPTIONS).plan_zca(images, zca_route=route, **options)
        assert str(expected) in fit(store, out, *arguments).stdout
    assert "Gram" in fit(store, out, "--keep-gram", "--plan").stdout
    assert list(tmp_path.iterdir()) == []


def test_whitening(images, store, tmp_path):
    out = tmp_path / "s.npz"
    made = ImageDataGenerator(**OPTIONS, zca_epsilon=0.01, rescale=1 / 255)
    done = fit(
        store, out, "--zca", "--zca-route", "features", "--zca-components", 0.9, "--zca-epsilon", 0.01, "--rescale",
        1 / 255, "--keep-gram", "--checkpoint", tmp_path / "c",
    )  # fmt: skip
    assert "whitening by features: 91.7723% of the variance\n" in done.stdout
    expected = made.fit(images, zca_components=0.9, keep_gram=True).statistics
    assert Statistics.load(out) == expected
    fit(store, out, "--zca", "--zca-components", 30, "--zca-store", tmp_path / "u.zarr", "--rescale", 1 / 255)
    assert zarr.open_array(tmp_path / "u.zarr").shape == (768, 30)
    assert Statistics.load(out).whitening.rank == 30
    # What was written is what a generator takes.
    loaded = ImageDataGenerator(**OPTIONS, rescale=1 / 255).load(out, store)
    assert np.isfinite(next(loaded.flow(store, batch_size=8))).all()


def test_a_share_of_one_is_everything_and_one_is_one_direction(images, store, tmp_path):
    everything = ImageDataGenerator(**OPTIONS).fit(images).statistics.whitening.rank
    for written, rank in (("1", 1), ("1.0", everything)):
        fit(store, tmp_path / "s.npz", "--zca", "--zca-components", written)
        assert Statistics.load(tmp_path / "s.npz").whitening.rank == rank


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nan-policy", "drop"], "--nan-policy must be"),
        (["--zca", "--zca-route", "svd"], "--zca-route must be one of"),
        (["--zca", "--zca-components", "many"], "`--zca-components` must be a number"),
        (["--zca", "--zca-components", "0"], "--zca-components must be an integer"),
        (["--zca", "--zca-epsilon", "-1"], "--zca-epsilon must be"),
        (["--zca", "--nan-policy", "omit"], "fit without --zca"),
        (["--zca", "--zca-route", "samples", "--checkpoint", "c"], "pass --zca-route features"),
        (["--zca", "--zca-route", "samples", "--keep-gram"], "--keep-gram keeps"),
        (["--zca-route", "samples", "--zca-epsilon", "1"], "--zca-route, --zca-epsilon says how to whiten"),
        (["--keep-gram", "--memory-budget", "1e-3"], "or with --memory-budget 0.024."),
        (["--zca", "--zca-route", "features", "--memory-budget", "1e-3"], "Nothing was read"),
        (["--memory-budget", "-1"], "`--memory-budget` must be more than 0 GB. Received: -1"),
        (["-o", "nowhere/s.npz"], "nowhere"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_told_in_one_paragraph(store, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = fit(store, Path("s.npz"), *arguments, code=1)
    told = done.stderr.strip().splitlines()[-1]
    assert told.startswith("daskaug fit: ")
    assert message in told
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_store_is_told_in_one_paragraph(tmp_path):
    (tmp_path / "text").write_text("no images")
    for path in (tmp_path / "nothing.zarr", tmp_path / "text", tmp_path):
        done = fit(str(path), tmp_path / "s.npz", code=1)
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith("daskaug fit: ")


def test_errors_that_nobody_foresaw_are_told_too(store, tmp_path, monkeypatch):
    def failing(*_: object, **__: object) -> None:
        error = RuntimeError("a disk\nwent away")
        error.add_note("This happened in a task.")
        raise error

    monkeypatch.setattr(ImageDataGenerator, "fit", failing)
    done = fit(store, tmp_path / "s.npz", code=1)
    assert done.stderr.endswith("daskaug fit: RuntimeError: a disk went away This happened in a task.\n")
