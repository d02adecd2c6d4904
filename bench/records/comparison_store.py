"""A comparison's folder: ``comparison.json`` and two tables of samples, each written in one move."""

from pathlib import Path

import pandas as pd

from loopmark.bench.records.comparison import Comparison
from loopmark.bench.records.files import as_json, replace_file
from loopmark.bench.records.tables import as_parquet

COMPARISON_FILE = "comparison.json"


def write_comparison(folder: Path, comparison: Comparison, blocks: pd.DataFrame, phases: pd.DataFrame) -> None:
    """Keep a comparison in ``folder``; ``comparison.json`` goes last, so that a folder that has it is whole."""
    for name, table in (("blocks", blocks), ("phases", phases)):
        replace_file(folder / f"{name}.parquet", as_parquet(table))
    replace_file(folder / COMPARISON_FILE, as_json(comparison))
