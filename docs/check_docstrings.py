"""Hold the documentation of every public name against numpydoc's rules: ``python docs/check_docstrings.py``.

The rules are chosen in ``[tool.numpydoc_validation]`` of ``pyproject.toml``. What numpydoc cannot see, shapes, errors
and sources of formulas, is checked by ``tests/test_docs_names.py``.
"""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from pathlib import Path

from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import ERROR_MSGS, validate
from public_names import public_names, resolve
from sphinx.ext.autodoc.mock import mock

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
OF_PARAMETERS = {"PR01", "PR02", "PR03"}


def chosen() -> set[str]:
    """Codes of the rules that count: all but those that are listed."""
    listed = set(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["numpydoc_validation"]["checks"])
    return set(ERROR_MSGS) - listed if "all" in listed else listed


def faults(name: str, rules: set[str]) -> list[str]:
    """What is wrong with the documentation of a name."""
    found = [(code, text) for code, text in validate(name)["errors"] if code in rules]
    if inspect.isclass(resolve(name)):
        # numpydoc looks for the arguments of a class under Parameters only, and not at __init__ where there is __new__.
        found = [(code, text) for code, text in found if code not in OF_PARAMETERS]
        missing = missing_arguments(name)
        found += [("PR01", f"Arguments {missing} are neither Parameters nor Attributes")] if missing else []
    return [f"{name}: {code} {text}" for code, text in found]


def missing_arguments(name: str) -> list[str]:
    """Arguments of a class that its documentation does not name; of one that is made by a function, none."""
    described = resolve(name)
    document = NumpyDocString(inspect.getdoc(described) or "")
    if (
        described.__init__ is object.__init__
        or issubclass(described, Exception)
        or re.search(r"\bmade by :", str(document), re.I)
    ):
        return []
    entries = [entry for section in ("Parameters", "Attributes") for entry in document[section]]
    told = {one.strip().lstrip("*") for entry in entries for one in entry.name.split(",")}
    arguments = list(inspect.signature(described.__init__).parameters)[1:]
    return [argument for argument in arguments if argument not in told]


def main() -> int:
    """Print what is wrong, and how many names were looked at."""
    rules, names = chosen(), list(public_names())
    with mock(["tensorflow", "torch"]):  # for the adapters, where the frameworks are not installed
        found = [fault for name in names for fault in faults(name, rules)]
    print("\n".join([*found, f"{len(names)} names against {len(rules)} rules of numpydoc: {len(found)} faults"]))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
