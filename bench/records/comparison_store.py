"""A comparison's folder: ``comparison.json`` and two tables of samples, each written in one move."""

import json
from pathlib import Path

import pandas as pd

from bench.records.codec import encode
from bench.records.comparison import Comparison
from bench.records.store import replace_file
from bench.records.tables import as_parquet

COMPARISON_FILE = "comparison.json"


def write_comparison(folder: Path, comparison: Comparison, blocks: pd.DataFrame, phases: pd.DataFrame) -> None:
    """Keep a comparison in ``folder``; ``comparison.json`` goes last, so that a folder that has it is whole."""
    text = json.dumps(encode(comparison), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    for name, table in (("blocks", blocks), ("phases", phases)):
        replace_file(folder / f"{name}.parquet", as_parquet(table))
    replace_file(folder / COMPARISON_FILE, text.encode(errors="backslashreplace"))
