"""Where the examples of the documentation run: a folder of their own, with some files, as on two cores."""

from __future__ import annotations

from pathlib import Path

import pytest

collect_ignore = ["conf.py", "check_docstrings.py"]
"""Modules with examples, they are not; the first is Sphinx' to run, and the second needs numpydoc."""


def set_up(folder: Path) -> None:
    """Lay out a folder of image files, ``photos``, with two classes, and ``photos.csv``, which names them."""
    from PIL import Image

    from daskaug.demo import load_tiles

    tiles, photographs = load_tiles()
    lines = ["filename,class"]
    for number, name in enumerate(("astronaut", "cat")):
        (folder / "photos" / name).mkdir(parents=True)
        for index, tile in enumerate(tiles[photographs == number][:12]):
            path = Path("photos", name, f"{index:02}.png")
            Image.fromarray(tile).save(folder / path)
            lines.append(f"{path},{name}")
    (folder / "photos.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that an example writes go away, and plans do not depend on the machine."""
    from daskaug.execution import executor

    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(executor, "thread_count", lambda: 2)
    monkeypatch.setattr(executor, "_threads", None)
    monkeypatch.chdir(tmp_path)
    set_up(tmp_path)
