"""What ``daskaug migrate`` prints."""

from __future__ import annotations

import dataclasses
import textwrap

from daskaug.migration.table import Kind, Row

HEADINGS = {
    Kind.EDIT: "Keras 3 refuses",
    Kind.CHANGED: "daskaug does otherwise",
    Kind.KEPT: "The same in both, and easily missed",
}
_WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Finding:
    """A row of the table that concerns a script.

    Attributes
    ----------
    row : Row
    line : int
        From 1.
    text : str
        The words that it is about.
    """

    row: Row
    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


def describe(findings: list[Finding], unknown: list[str]) -> str:
    """All findings as text, row by row.

    Parameters
    ----------
    findings : list of Finding
    unknown : list of str
        What is no literal and was taken for switched on.
    """
    lines: list[str] = []
    for kind, heading in HEADINGS.items():
        rows = list(dict.fromkeys(finding.row for finding in findings if finding.row.kind is kind))
        if not rows:
            continue
        lines += [heading, "=" * len(heading), ""]
        for row in rows:
            lines += [str(finding) for finding in findings if finding.row is row]
            lines += [part for label, text in _parts(row) for part in _wrapped(label, text)]
            lines.append("")
    if not findings:
        lines += ["Nothing differs from Keras.", ""]
    if unknown:
        lines += ["Not a literal, so taken for switched on: " + "; ".join(unknown), ""]
    if any(finding.row.kind is Kind.CHANGED for finding in findings):
        lines += ['ImageDataGenerator(..., compat="keras") takes back all that names it as the switch.', ""]
    return "\n".join(lines).rstrip("\n")


def _parts(row: Row) -> list[tuple[str, str]]:
    if row.kind is Kind.EDIT:
        return [("write", row.daskaug), ("Keras", row.why)]
    if row.kind is Kind.KEPT:
        return [("both", row.keras), ("why", row.why)]
    return [("Keras", row.keras), ("daskaug", row.daskaug), ("why", row.why), ("switch", row.switch)]


def _wrapped(label: str, text: str) -> list[str]:
    plain = text.replace("`", "")
    return textwrap.wrap(plain, _WIDTH, initial_indent=f"  {label:<9}", subsequent_indent=" " * 11)
