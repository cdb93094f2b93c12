"""What the tests of this folder share: images, and certificates made by the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import recipes


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    return recipes.make_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Path:
    return recipes.certificates(tmp_path_factory.mktemp("tls") / "certificates")
