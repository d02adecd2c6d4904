"""A search for a batch size in its folder: ``batches.json``, written in one move."""

from pathlib import Path

from loopmark.bench.records import tables
from loopmark.bench.records.batches import BATCHES_VERSION, BatchHunt
from loopmark.bench.records.files import as_json, read_json, replace_file
from loopmark.bench.records.limits import LEAST_SECONDS

BATCHES_FILE = "batches.json"
MOST_ROWS, MOST_BYTES = 1e12, 1e15
"""Of a batch; more than any machine has."""


def write_batches(folder: Path, hunt: BatchHunt) -> None:
    """Keep ``hunt`` in ``folder``."""
    replace_file(folder / BATCHES_FILE, as_json(hunt))


def read_batches(folder: Path) -> BatchHunt | None:
    """The search that ``folder`` holds; None where it holds none.

    Raises:
        BadInput: it is damaged or too new.
    """
    path = folder / BATCHES_FILE
    hunt = read_json(path, BatchHunt, "batches_version", BATCHES_VERSION)
    if hunt is None:
        return None
    if not hunt.cases:
        raise tables.damaged(path, "it holds no case")
    for attempt in [attempt for case in hunt.cases for attempt in (*case.attempts, *case.again)]:
        if not 0 < attempt.batch_size < MOST_ROWS or (attempt.fits and not attempt.block_seconds):
            raise tables.damaged(path, "a batch that fits should have at least one row and one block")
        if attempt.fits and not 0 < (attempt.rows_per_step or 0) < MOST_ROWS:
            raise tables.damaged(path, "a batch that fits should say how many rows a step has")
        if attempt.peak_memory_bytes is not None and not 0 < attempt.peak_memory_bytes < MOST_BYTES:
            raise tables.damaged(path, "a peak of memory should be some bytes")
        if any(seconds < LEAST_SECONDS for seconds in attempt.block_seconds):
            raise tables.damaged(path, "a block should take some time")
    return hunt
