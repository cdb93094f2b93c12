"""The page on file formats names everything that is in the files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator
from daskaug.ingest import Reading, ingest
from tests import pictures

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([\w/ ]+)`", PAGE))


class Overridden(ImageDataGenerator):
    def standardize(self, x):
        return x


def stores(folder: Path) -> list[str]:
    """Stores that have, together, all that a store can have."""
    images = pictures.tiles(8, 60)
    labels = np.arange(60) % 3
    plain = ImageDataGenerator(rotation_range=20)
    whitener = ImageDataGenerator(featurewise_center=True, zca_whitening=True).fit(images)
    assigned = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    assigned.mean, assigned.std, assigned.zca_whitening_matrix = 0.0, 1.0, np.eye(8 * 8 * 3)
    made = {
        "whole": (whitener, (images, [labels]), {"y": labels, "sample_weight": labels, "masks": images[..., :1]}),
        "assigned": (assigned, images, {}),
        "balanced": (plain, images, {"y": np.minimum(labels, 1), "balance": True}),
        "parts": (plain, images[:40], {}),
    }
    for name, (generator, x, options) in made.items():
        generator.materialize(x, str(folder / name), **options)
    with pytest.warns(UserWarning, match="standardize"):
        Overridden().materialize(images, str(folder / "overridden"), standardize=True)
    plain.materialize(images, str(folder / "parts"), append=True)
    for name in ("a", "b"):
        (folder / "files" / name).mkdir(parents=True)
        pictures_of = ImageDataGenerator().flow(images[:2], batch_size=2, save_to_dir=folder / "files" / name)
        next(pictures_of)
    ingest(folder / "files", str(folder / "ingested"), Reading())
    return [str(folder / name) for name in (*made, "overridden", "ingested")]


def test_every_array_and_attribute_of_a_store_is_on_the_page(tmp_path):
    found = set()
    for store in stores(tmp_path):
        group = zarr.open_group(store, mode="r")
        for path, node in group.members(max_depth=None):
            if isinstance(node, zarr.Array) and not path.startswith("parts/"):
                found |= {path, *node.attrs}
        found |= set(group.attrs)
        manifest = group.attrs["daskaug"]
        for facts in (
            manifest,
            manifest["contract"],
            manifest["card"],
            manifest["source"],
            manifest["contract"]["layout"],
        ):
            found |= set(facts)
        for facts in (manifest["contract"].get("masks", {}), manifest["contract"].get("balance", {})):
            found |= set(facts)
        for part in manifest.get("parts", ()):
            found |= {*part, *zarr.open_group(store, path=part["path"], mode="r").attrs["daskaug"]["contract"]}
    assert len(found) > 50
    assert {name for name in found if name.removesuffix("_0") not in NAMED and name not in NAMED} == set()


def test_every_entry_of_a_checkpoint_is_on_the_page(tmp_path):
    images = pictures.tiles(8, 60)
    floats = images.astype(np.float32)
    plain = ImageDataGenerator(featurewise_center=True)
    moved = ImageDataGenerator(featurewise_center=True, rotation_range=20)
    fits = {
        "integers": lambda path: plain.fit(images, histogram=True, keep_gram=True, checkpoint=path),
        "floats": lambda path: plain.fit(floats, keep_gram=True, checkpoint=path),
        "weighted": lambda path: plain.fit(floats, sample_weight=np.arange(60), checkpoint=path),
        "augmented": lambda path: moved.fit(images, augment=True, rounds=2, seed=1, checkpoint=path),
    }
    found = set()
    for name, fit in fits.items():
        path = tmp_path / name
        fit(path)
        with np.load(path) as file:
            header = json.loads(str(file["header"]))
            found |= {re.sub(r"^\d+_", "L_", entry) for entry in file.files}
        found |= {*header, *header["contract"], *header.get("integer", {}), *header.get("float", {})}
    in_a_statistics_file = {"gram", "gram_sums", "gram_mean", "histogram"}
    assert found - NAMED - in_a_statistics_file == set()
