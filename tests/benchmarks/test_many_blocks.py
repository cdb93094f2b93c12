"""A long run on a cluster keeps nothing of the blocks that are done."""

from __future__ import annotations

import pytest

from benchmarks.many_blocks import run

pytestmark = pytest.mark.long

WINDOW = 40
"""Tasks that two workers with one thread each may have before them, with some that are being forgotten."""

KEPT_NBYTES = 1000
"""Of each block: dask remembers the names of its last 100,000 tasks (``key_split``), in 300 to 500 bytes each. A task
that is not forgotten takes several thousand."""


@pytest.mark.parametrize(("sink", "blocks"), [("fit", 2500), ("materialize", 200)])
def test_neither_scheduler_nor_client_grows(sink, blocks, tmp_path):
    made = run(sink, blocks, tmp_path)
    assert made.samples[-1].blocks == blocks
    assert made.most_known <= WINDOW
    later = blocks - made.samples[made.quarter].blocks
    for who in ("scheduler", "client"):
        assert made.growth(who) < KEPT_NBYTES * later + 2e6


@pytest.mark.faults
def test_an_epoch_of_many_blocks_keeps_those_of_its_shuffle(tmp_path):
    made = run("stream", 2500, tmp_path)
    # A task makes up to sixteen batches, of as many blocks; three tasks are ahead, and blocks for as many more.
    assert made.most_known <= 400
    assert made.growth("scheduler") < 5 * KEPT_NBYTES * 2500
