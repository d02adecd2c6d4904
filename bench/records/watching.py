"""The steps of a watched script: a table beside the samples of its run."""

from pathlib import Path

import pandas as pd

from loopmark.bench.records.files import replace_file
from loopmark.bench.records.samples import Columns, read_columns, typed

STEPS = "steps"  # the table's name
COLUMNS: Columns = {
    "case": "int32",  # an index into `Run.cases`: one for each process that trained
    "step": "int64",
    "ended_seconds": "float64",  # since the script's start
    "host_seconds": "float64",
    "device_seconds": "float64",  # NaN on the host's clock
    "lapped": "bool",
    "events": "str",  # of the step, separated by commas: `validation`, `first of an epoch`…
    "samples": "float64",  # NaN if unknown
    "memory_bytes": "float64",  # NaN where it was not read: it is read twice a second
}


def write_steps(folder: Path, steps: pd.DataFrame) -> None:
    path = folder / f"{STEPS}.parquet"
    replace_file(path, typed(COLUMNS, steps).to_parquet(index=False, write_page_checksum=True))


def read_steps(folder: Path) -> pd.DataFrame:
    """The steps of the run in ``folder``. Raises BadInput if they are missing or damaged."""
    return read_columns(folder, STEPS, COLUMNS)
