"""Write the generated tables into the pages that hold them: ``python docs/build_tables.py``.

A table stands between two comments, ``<!-- table: NAME -->`` and ``<!-- end of table -->``.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from daskaug import ImageDataGenerator
from daskaug.cli import app
from daskaug.migration import EDITS, KEPT, TOPICS, Row

DOCS = Path(__file__).parent
JOBS = ("fit", "stream", "materialize")
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.S)


def arguments() -> dict[str, dict[str, list[str]]]:
    """For each method and argument of Keras' page: the meaning, then the tests as ``file::function``."""
    return tomllib.loads((DOCS / "arguments.toml").read_text(encoding="utf-8"))


def faults() -> dict[str, dict[str, list[str]]]:
    """For each fault and job: what happens, then the tests as ``file::function``."""
    return tomllib.loads((DOCS / "faults.toml").read_text(encoding="utf-8"))


def built(page: str) -> str:
    """The text of a page with its tables as they should be."""
    made = tables()
    return MARKED.sub(lambda found: f"{found[1]}\n{made[found[2]]}\n{found[3]}", page)


def tables() -> dict[str, str]:
    """All tables, by name."""
    return {
        "changed": "\n".join(f"### {topic}\n\n{_changes(rows)}" for topic, rows in TOPICS.items()),
        "edits": _table(
            ("old form", "write", "what Keras 3 says to the old form", "proof"),
            ((row.keras, row.daskaug, row.why, _proof(row)) for row in EDITS),
        ),
        "kept": _table(("in both", "why", "proof"), ((row.keras, row.why, _proof(row)) for row in KEPT)),
        "commands": "\n".join(f"## daskaug {name}\n\n{_command(command)}" for name, command in commands().items()),
        "faults": _table(
            ("fault", *JOBS),
            ((f"**{fault}**", *(_told(*cells[job]) for job in JOBS)) for fault, cells in faults().items()),
        ),
        **{name: _arguments(name, rows) for name, rows in arguments().items()},
    }


def commands() -> dict[str, Any]:
    """The commands of the terminal, by name, in the order of its help."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def _command(command: Any) -> str:
    """What ``--help`` says, made from the same declarations, in a form that no version of typer lays out otherwise."""
    said = [parameter for parameter in command.params if getattr(parameter, "help", None)]
    rows = ((_written(each), "" if each.default in (None, False) else f"`{each.default}`", each.help) for each in said)
    return f"{command.help}\n\n{_table(('argument', 'default', 'meaning'), rows)}" if said else f"{command.help}\n"


def _written(parameter: Any) -> str:
    """How an argument or option is typed."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
    names = [*sorted(parameter.opts, key=len), *parameter.secondary_opts]
    return ", ".join(f"`{name}{value}`" for name in names)


def _changes(rows: Iterable[Row]) -> str:
    return _table(
        ("Keras", "daskaug", "switch", "proof"),
        ((row.keras, f"{row.daskaug} *{row.why}*", row.switch, _proof(row)) for row in rows),
    )


def _arguments(method: str, rows: dict[str, list[str]]) -> str:
    function: Any = getattr(ImageDataGenerator, "__init__" if method == "ImageDataGenerator" else method)
    parameters = inspect.signature(function).parameters
    return _table(
        ("argument", "default", "meaning", "proof"),
        (
            (f"`{_starred(parameters[name])}`", _default(parameters[name]), meaning, ", ".join(map(link, proofs)))
            for name, (meaning, *proofs) in rows.items()
        ),
    )


def _told(text: str, *proofs: str) -> str:
    """A cell of several links, which are too long to be read out there."""
    links = []
    for number, proof in enumerate(proofs, 1):
        file, _, function = proof.partition("::")
        links.append(f'[{number}](../tests/{file} "{function}")')
    return " ".join([text, *links])


def _starred(parameter: inspect.Parameter) -> str:
    return ("**" if parameter.kind is parameter.VAR_KEYWORD else "") + parameter.name


def _default(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is parameter.empty else f"`{parameter.default!r}`"


def link(proof: str) -> str:
    """``folder/test_file.py::test_function`` as a link to the file that names the function."""
    file, _, function = proof.partition("::")
    return f"[{function.removeprefix('test_')}](../tests/{file})"


def _proof(row: Row) -> str:
    return link(f"test_migration.py::test_{row.name}")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main() -> None:
    """Rewrite every page that has a table."""
    for page in sorted(DOCS.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = built(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"wrote {page.name}")


if __name__ == "__main__":
    main()
