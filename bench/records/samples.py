"""The raw samples of a run: four tidy tables, kept as they were measured; all else is derived from them.

``case`` is an index into ``Run.cases``, ``launch`` into that case's launches. All times are seconds. A device
column is NaN where the clock is the host's.
"""

from dataclasses import dataclass, fields

import pandas as pd

from loopmark.bench.records import tables

COLUMNS: dict[str, dict[str, str]] = {
    # One row a phase of a lapped step. Host seconds are NaN where the host sees nothing (in a graph). On a device the
    # step before a block's first is here too: it found the device idle, and counts for nothing.
    "phases": {
        "case": "int32",
        "launch": "int32",
        "round": "int32",
        "block": "int32",
        "step": "int64",
        "phase": "str",
        "host_seconds": "float64",
        "device_seconds": "float64",
    },
    # One row a block: consecutive steps of one process, `lapped` phase by phase or timed as a whole.
    "blocks": {
        "case": "int32",
        "launch": "int32",
        "round": "int32",
        "block": "int32",
        "lapped": "bool",
        "first_step": "int64",
        "steps": "int64",
        "host_seconds": "float64",
        "device_seconds": "float64",
        "involuntary_switches": "int64",
        "steal_seconds": "float64",
        "sm_clock_hertz": "float64",
        "throttle_reasons": "str",
        "foreign_processes": "int64",
    },
    # One row a warm-up step, each timed to its end.
    "warmup": {"case": "int32", "launch": "int32", "step": "int64", "seconds": "float64"},
    # One row a step whose loss was read: every warm-up step and every lapped one.
    "losses": {"case": "int32", "launch": "int32", "step": "int64", "loss": "float64"},
}

CATEGORIES: dict[str, tuple[str, ...]] = {"phases": ("phase",)}
"""The columns of text that are read as categories; group by them with ``observed=True``."""


@dataclass(frozen=True)
class Samples:
    """The four tables; see ``COLUMNS`` for what each holds."""

    phases: pd.DataFrame
    blocks: pd.DataFrame
    warmup: pd.DataFrame
    losses: pd.DataFrame

    @classmethod
    def empty(cls) -> "Samples":
        """Four tables of the right columns and types, without a row."""
        return cls(**{name: tables.table(COLUMNS[name]) for name in TABLES})


def seconds_of(rows: pd.DataFrame) -> "pd.Series[float]":
    """The seconds of blocks or phases: the device's where a device was timed, else the host's."""
    return rows["device_seconds"].fillna(rows["host_seconds"])


TABLES: tuple[str, ...] = tuple(field.name for field in fields(Samples))


def typed(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with table ``name``'s columns, in order and typed. Raises KeyError for a missing column."""
    return tables.typed(COLUMNS[name], frame)
