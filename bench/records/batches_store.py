"""A search for a batch size in its folder: ``batches.json``, written in one move."""

import json
from pathlib import Path

from bench.errors import BadInput
from bench.records import tables
from bench.records.batches import BATCHES_VERSION, BatchHunt
from bench.records.codec import Mismatch, decode, encode
from bench.records.store import replace_file

BATCHES_FILE = "batches.json"
MOST_ROWS, MOST_BYTES = 1e12, 1e15
"""Of a batch; more than any machine has."""


def write_batches(folder: Path, hunt: BatchHunt) -> None:
    """Keep ``hunt`` in ``folder``."""
    text = json.dumps(encode(hunt), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    replace_file(folder / BATCHES_FILE, text.encode(errors="backslashreplace"))


def read_batches(folder: Path) -> BatchHunt | None:
    """The search that ``folder`` holds; None where it holds none.

    Raises:
        BadInput: it is damaged or too new.
    """
    path = folder / BATCHES_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot read {path}: {tables.line(error)}; {tables.AGAIN}") from None
    version = content.get("batches_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or version < 1:
        raise BadInput(f"{path} is not Loopmark's: it has no batches_version")
    if version > BATCHES_VERSION:
        raise BadInput(
            f"{path} was written in format {version}; this Loopmark reads up to {BATCHES_VERSION}: upgrade it"
        )
    try:
        hunt = decode(BatchHunt, content, "batches")
    except Mismatch as error:
        raise tables.damaged(path, error) from None
    if not hunt.cases:
        raise tables.damaged(path, "it holds no case")
    for attempt in [attempt for case in hunt.cases for attempt in (*case.attempts, *case.again)]:
        if not 0 < attempt.batch_size < MOST_ROWS or (attempt.fits and not attempt.block_seconds):
            raise tables.damaged(path, "a batch that fits should have at least one row and one block")
        if attempt.fits and not 0 < (attempt.rows_per_step or 0) < MOST_ROWS:
            raise tables.damaged(path, "a batch that fits should say how many rows a step has")
        if attempt.peak_memory_bytes is not None and not 0 < attempt.peak_memory_bytes < MOST_BYTES:
            raise tables.damaged(path, "a peak of memory should be some bytes")
        if any(not 0 < seconds <= tables.LONGEST_SECONDS for seconds in attempt.block_seconds):
            raise tables.damaged(path, "a block should take some time")
    return hunt
