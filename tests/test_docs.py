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

from daskaug.cli import app

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
