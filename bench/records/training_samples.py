"""The raw samples of training: three tidy tables. ``trial`` and ``proof`` are indices into ``Training``'s own."""

from dataclasses import dataclass, fields

import pandas as pd

from loopmark.bench.records import tables

COLUMNS: dict[str, tables.Columns] = {
    # One row each time that quality was measured; the first is of the untrained model.
    "evaluations": {
        "trial": "int32",
        "step": "int64",
        # Spent training up to here, compilation included, and measuring quality not.
        "seconds": "float64",
        # Spent up to here; NaN where nothing counts energy.
        "joules": "float64",
        "quality": "float64",
    },
    # One row a training step. A loss that is not finite is kept as it is.
    "training_losses": {"trial": "int32", "step": "int64", "loss": "float64"},
    # One row a layer of a step that was compared; see loopmark.bench.records.proof.Deviation.
    "deviations": {
        "proof": "int32",
        "step": "int64",
        "kind": "str",
        "layer": "str",
        "error": "float64",
        "eager_error": "float64",
        "rounding_error": "float64",
        "coarse_error": "float64",
    },
}


@dataclass(frozen=True)
class TrainingSamples:
    """The three tables; see ``COLUMNS`` for what each holds."""

    evaluations: pd.DataFrame
    training_losses: pd.DataFrame
    deviations: pd.DataFrame


TABLES: tuple[str, ...] = tuple(field.name for field in fields(TrainingSamples))
