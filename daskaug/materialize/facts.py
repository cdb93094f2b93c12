"""What a store's manifest says of it, in words; nothing is read for it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from daskaug.cards import Fact, shape_text
from daskaug.config import Config
from daskaug.materialize.layout import Layout


def layout_of(manifest: dict[str, Any]) -> Layout:
    """How the rows are cut."""
    plain = dict(manifest["contract"]["layout"])
    return Layout(**plain | {"image_shape": tuple(plain["image_shape"])})


def hash_facts(manifest: dict[str, Any]) -> list[Fact]:
    """The hash of a complete store; nothing of another."""
    return [Fact("hash", str(manifest.get("store_hash")))] if manifest.get("complete") else []


def image_facts(manifest: dict[str, Any]) -> list[Fact]:
    """How many images there are, and of how many they were made."""
    layout, source_rows = layout_of(manifest), int(manifest["source"]["shape"][0])
    copies = f"{source_rows:,} of the source × {layout.epochs} copies"
    if layout.n != source_rows:
        copies = f"made from {source_rows:,} of the source, {layout.epochs} epochs of {layout.n:,}"
    return [Fact("images", f"{layout.rows:,} of {shape_text(layout.image_shape)} {layout.dtype}, {copies}")]


def work_facts(manifest: dict[str, Any]) -> list[Fact]:
    """What was done to the images."""
    contract = manifest["contract"]
    options = ", ".join(_options(contract["config"]))
    made = "augmented" if options else "as in the source"
    if _config(contract["config"]).standardizes:
        made += ", to be standardised by the reader"
    return [
        Fact("pixels", "standardised" if contract["standardized"] else made),
        Fact("seed", f"{contract['seed']} (seeding version {contract['seeding_version']})"),
        Fact("options", options or "all at their defaults"),
    ]


def origin_facts(manifest: dict[str, Any]) -> list[Fact]:
    """What the images were made of, and with which versions."""
    stated = manifest["source"]
    content = f"{manifest['contract']['source_sample']} (of some rows)"
    if "content" in stated:
        content = f"{stated['content']} ({stated['rows_hashed']:,} rows)"
    shape = f"{stated['shape'][0]:,} of {shape_text(stated['shape'][1:])} {np.dtype(stated['dtype'])}"
    return [
        Fact("source", f"{stated['locator']}: {shape}"),
        Fact("  content", content),
        Fact("versions", ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items())),
    ]


def _config(config: dict[str, Any]) -> Config:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one option overrides another: said when it was made
        return Config.from_dict(config | {"preprocessing_function": None})


def needs_statistics(manifest: dict[str, Any]) -> bool:
    """Whether whoever reads it is to standardise with statistics."""
    contract = manifest["contract"]
    return not contract["standardized"] and _config(contract["config"]).needs_statistics


def _options(config: dict[str, Any]) -> list[str]:
    """What differs from the defaults; a function by its name."""
    function = config.get("preprocessing_function")
    named = [f"{name}={value}" for name, value in _config(config).chosen().items()]
    if isinstance(function, dict):
        named.append(f"preprocessing_function={function['module']}.{function['qualname']}")
    return named
