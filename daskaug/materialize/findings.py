"""What a check of a store comes to."""

from __future__ import annotations

import dataclasses

from daskaug.cards import BAD, GOOD, Fact, State, Told, lines, one_line

LISTED = 5
"""Rows of a shard that are reported one by one."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes
    ----------
    kind : str
        ``"manifest"``, ``"structure"``, ``"commit record"``, ``"missing"``, ``"size"``, ``"unreadable"``,
        ``"content"``, ``"columns"``, ``"statistics"``, ``"pixels"``, ``"masks"`` or ``"source"``.
    where : str
        The shard and array, the row of the store, or the row of the source.
    message : str
    """

    kind: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclasses.dataclass(frozen=True, repr=False)
class Verification(Told):
    """What :func:`daskaug.verify` found; its text says it in words.

    Attributes
    ----------
    store : str
    store_hash : str or None
        As the manifest says.
    findings : tuple of Finding
        What is wrong.
    not_checked : tuple of str
        What could not be looked at, and why. That is no fault of the store.
    rows, shards, objects : int
        In all.
    shards_read : int
        Of these, the ones that were read and compared with their commit records.
    samples : int
        Rows that were made again from their keys.
    samples_wanted : int
        Rows that should have been: more, where there was no source to make them from.
    """

    store: str
    store_hash: str | None
    findings: tuple[Finding, ...]
    not_checked: tuple[str, ...]
    rows: int
    shards: int
    objects: int
    shards_read: int
    samples: int
    samples_wanted: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, as far as it was looked at."""
        return not self.findings

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.findings:
            return f"{len(self.findings):,} finding{'s' if len(self.findings) > 1 else ''}"
        return "nothing is wrong" + (" in what was checked" if self.samples < self.samples_wanted else "")

    def _card_facts(self) -> list[Fact]:
        return [
            Fact("store", f"{self.store}, {self.rows:,} images in {self.shards:,} shards, {self.objects:,} objects"),
            Fact("read", f"{self.shards_read:,} of {self.shards:,} shards, compared with their commit records", ""),
            Fact(
                "recomputed", f"{self.samples:,} of {self.rows:,} images from their keys, compared pixel by pixel", ""
            ),
            Fact("hash", self.store_hash or "none, the store is not complete", ""),
            *(Fact("not checked", what, "") for what in self.not_checked),
            *(Fact("WRONG", str(finding), "", is_wrong=True) for finding in self.findings),
        ]

    def _card_state(self) -> State:
        return State(self.verdict, GOOD if self.ok else BAD)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {one_line(self._card_facts())}: {self.verdict}>"

    def __str__(self) -> str:
        mended = "the same materialize() again, with `recheck`, writes damaged shards anew"
        return "\n".join([*lines(self._card_facts(), 12), self.verdict, *([] if self.ok else [mended])])
