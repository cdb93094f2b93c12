"""Which names the pages in ``api/`` describe: the package's promise, read from where it is made."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parent / "api"

DIRECTIVE = re.compile(
    r"^\.\. (?P<kind>currentmodule|auto(?:class|exception|function|method|property)):: +(?P<name>\S+)\n"
    r"(?P<options>(?: {3}:.*\n)*)",
    re.M,
)

NEEDS_FRAMEWORK = ("daskaug.adapters.tensorflow.", "daskaug.adapters.torch.")
"""What cannot be imported where the frameworks are not installed."""


@functools.cache
def public_names() -> dict[str, str]:
    """Every name that is described, and the page that does."""
    return {name: page.name for page in sorted(PAGES.glob("*.rst")) for name in _names_on(page)}


def importable_names() -> list[str]:
    """Those that can be looked at without PyTorch and TensorFlow."""
    return [name for name in public_names() if not name.startswith(NEEDS_FRAMEWORK)]


def resolve(name: str) -> Any:
    """The object of a dotted name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, parts[length:], found)
    raise LookupError(name)


def functions_of(name: str) -> list[Any]:
    """The function behind a name, or those of a class that make an object of it; none for a plain value."""
    owner, _, member = name.rpartition(".")
    found = resolve(name)
    if inspect.isclass(found):
        made = [vars(found).get(name) for name in ("__init__", "__post_init__")]
        return [each for each in made if inspect.isfunction(each) and each.__code__.co_filename.endswith(".py")]
    held: Any = inspect.getattr_static(resolve(owner), member, found)
    held = getattr(held, "__func__", getattr(held, "fget", None) or getattr(held, "func", None) or held)
    return [held] if inspect.isfunction(held) else []


def _names_on(page: Path) -> Iterator[str]:
    module = ""
    for found in DIRECTIVE.finditer(page.read_text(encoding="utf-8")):
        if found["kind"] == "currentmodule":
            module = f"{found['name']}."
            continue
        name = found["name"] if found["name"].startswith("daskaug.") else module + found["name"]
        yield name
        members = re.search(r":members:(.*)", found["options"])
        if members:
            inherited = ":inherited-members:" in found["options"]
            chosen = members[1].replace(",", " ").split()
            yield from (f"{name}.{member}" for member in chosen or _members(name, inherited=inherited))


def _members(name: str, *, inherited: bool) -> Iterator[str]:
    """What autodoc shows of a class: methods and properties with a docstring of their own or of their parent."""
    described = resolve(name)
    for member in dir(described) if inherited else vars(described):
        held = inspect.getattr_static(described, member)
        is_shown = callable(getattr(described, member)) or hasattr(held, "fget") or hasattr(held, "func")
        if not member.startswith("_") and is_shown and inspect.getdoc(held):
            yield member
