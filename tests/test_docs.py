"""Links in the documentation lead somewhere, its Python examples are Python, and its commands exist."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer
from typer.testing import CliRunner

from daskaug.cli import app
from daskaug.materialize import open_materialized
from tests.documents import module_of

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("cluster/**/*.md")])

FENCE = re.compile(
    r"^(?P<indent> *)(?P<mark>```+|~~~+)(?P<language>\w*)[^\n]*\n(?P<code>.*?)^ *(?P=mark) *$", re.M | re.S
)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?(?P<target>[^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s+(?P<target>\S+)", re.M)
SOURCE = re.compile(r"<(?:img|a)\s[^>]*?(?:src|href)=\"(?P<target>[^\"]+)\"")
COMMAND = re.compile(r"(?:^ {4}|`)daskaug (?P<name>[a-z]+)(?P<arguments>[^`\n]*)", re.M)
HEADING = re.compile(r"^#{1,6}\s+(?P<title>.+?)\s*#*$", re.M)


def prose(page: Path) -> str:
    return INLINE_CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> list[str]:
    text = prose(page)
    return [found["target"] for pattern in (LINK, REFERENCE, SOURCE) for found in pattern.finditer(text)]


def anchors(page: Path) -> set[str]:
    """The names that headings get: lower case, spaces to hyphens, no punctuation."""
    titles = (found["title"] for found in HEADING.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        inside = target.is_relative_to(ROOT) and target.exists()
        if not inside or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_examples_parse(page: Path) -> None:
    for fence in FENCE.finditer(page.read_text(encoding="utf-8")):
        code = textwrap.dedent(fence["code"])
        if fence["language"] in {"py", "python"} and ">>>" not in code:
            ast.parse(code, filename=name_of(page))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist_with_their_options(page: Path) -> None:
    commands = typer.main.get_command(app).commands
    for found in COMMAND.finditer(page.read_text(encoding="utf-8")):
        known = {option for parameter in commands[found["name"]].params for option in parameter.opts}
        given = {word for word in shlex.split(found["arguments"], comments=True) if word.startswith("-")}
        assert given <= {*known, "--help"}, found[0]


def commands_run(page: str) -> list[str]:
    """The names of the commands on a page, each of which is run."""
    commands = [line.split(maxsplit=1)[1] for line in page.splitlines() if line.startswith("    daskaug ")]
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, f"{command}: {result.output}"
    return [command.split()[0] for command in commands]


def test_the_commands_of_the_quickstart_work_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module_of(ROOT / "docs" / "conftest.py").set_up(tmp_path)
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    assert commands_run(page) == [
        "check", "ingest", "fit", "preview", "materialize", "info", "verify", "replay",
    ]  # fmt: skip
    assert "nothing is wrong" in CliRunner().invoke(app, ["verify", "augmented.zarr", "--full"]).output
    assert len(open_materialized("augmented.zarr")) == 3 * 24
    assert {path.name for path in tmp_path.glob("*.png")} == {"sheet.png", "40.png"}


def test_the_commands_and_lines_of_the_readme_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the training, whose model is the reader's."""
    monkeypatch.chdir(tmp_path)
    module_of(ROOT / "docs" / "conftest.py").set_up(tmp_path)
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert commands_run(page) == ["ingest", "fit", "materialize", "verify"]
    lines = "".join(found["code"] for found in FENCE.finditer(page) if found["language"] == "python")
    assert "model.fit(" in lines
    namespace: dict[str, object] = {}
    exec(re.sub(r"^model\.fit.*$", "next(batches)", lines, flags=re.M), namespace)
    assert len(open_materialized("three.zarr")) == 3 * 24


def test_the_picture_of_the_flow_is_what_its_script_draws() -> None:
    drawn = module_of(ROOT / "docs" / "make_pictures.py").flow()
    assert (ROOT / "docs" / "images" / "flow.svg").read_text(encoding="utf-8") == drawn


def test_every_claim_about_a_peer_has_its_source() -> None:
    page = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    claims = [cell.strip() for row in rows for cell in row[1:] if cell.strip(" |")]
    headings = {"daskaug", "tf.data and Keras layers", "DataLoader and torchvision v2", "Albumentations", "kornia"}
    headings |= {"Keras `ImageDataGenerator`", "xbatcher", "dask by hand"}
    bare = [claim for claim in claims if "](" not in claim and "][" not in claim and claim not in headings]
    assert bare == ["no"]  # ours
    measured = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    told = [
        text for claim in claims for text, link in re.findall(r"\[([^]]+)\]\(([^)]+)\)", claim) if "performance" in link
    ]
    numbers = [number for text in told for number in re.findall(r"\d[\d,.]*", text)]
    assert len(numbers) > 10
    assert [
        number for number in numbers if not re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d,]|\.\d)", measured)
    ] == []
    used = set(re.findall(r"\]\[([\w-]+)\]", page))
    assert used == set(re.findall(r"^\[([\w-]+)\]: ", page, re.M))
