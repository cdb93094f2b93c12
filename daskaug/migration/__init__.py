"""What changes for a script that was written for Keras' ``ImageDataGenerator``."""

from __future__ import annotations

from pathlib import Path

from daskaug.errors import ConfigError
from daskaug.migration.report import Finding, describe
from daskaug.migration.rules import RULES, lines_with_compat
from daskaug.migration.script import UNKNOWN, read_script
from daskaug.migration.table import CHANGED, COMPAT, EDITS, KEPT, ROWS, TOPICS, Kind, Row

__all__ = [
    "CHANGED",
    "EDITS",
    "KEPT",
    "ROWS",
    "TOPICS",
    "Finding",
    "Kind",
    "Row",
    "compare_with_keras",
    "explain",
    "explain_file",
]


def compare_with_keras(call: str) -> list[Finding]:
    """What daskaug does otherwise than Keras for exactly this call or script, and what Keras 3 refuses of it.

    Nothing of it is run. Literals are evaluated, and names that stand for one literal; an option whose value is
    something else counts as switched on.

    Parameters
    ----------
    call : str
        ``"ImageDataGenerator(rotation_range=20)"``, or the text of a whole script.

    Returns
    -------
    list of Finding
        In the order of the table; empty where nothing differs.

    Raises
    ------
    ConfigError
        For text that is no Python.

    Examples
    --------
    >>> from daskaug.migration import compare_with_keras
    >>> found = compare_with_keras("ImageDataGenerator(brightness_range=(0.5, 1.5), interpolation_order=0)")
    >>> [finding.row.name for finding in found]
    ['keyed_draws', 'brightness']
    >>> print(found[1])
    line 1: brightness_range=(0.5, 1.5)
    """
    script = read_script(call)
    found = [Finding(row, line, text) for name, row in ROWS.items() for line, text in RULES[name](script)]
    replaying = lines_with_compat(script)
    return [f for f in found if not (f.line in replaying and f.row.switch.startswith(COMPAT))]


def explain(call: str) -> str:
    """The findings of :func:`compare_with_keras` as text for the terminal.

    Parameters
    ----------
    call : str
        As for :func:`compare_with_keras`.

    Returns
    -------
    str
        A paragraph for each finding, and a line for what could not be read.

    Raises
    ------
    ConfigError
        For text that is no Python, or that has nothing to do with an ``ImageDataGenerator``.
    """
    script, findings = read_script(call), compare_with_keras(call)
    if not script.generators and not findings:
        raise ConfigError("There is no ImageDataGenerator(...) in it, and no batches of one.")
    unknown = [
        f"line {made.line}: {text}"
        for made in script.generators
        for text in (*made.written(*(n for n, a in made.arguments.items() if a.value is UNKNOWN)), *made.unread)
    ]
    return describe(findings, unknown)


def explain_file(path: str | Path) -> str:
    """The same for a script on disk.

    Parameters
    ----------
    path : path
        Read as UTF-8.

    Returns
    -------
    str
        As from :func:`explain`.

    Raises
    ------
    ConfigError
        As from :func:`explain`; also where the file cannot be read.
    """
    try:
        code = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"The script {str(path)!r} cannot be read: {error}.") from error
    return explain(code)
