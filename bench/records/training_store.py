"""Training's part of a run's folder: ``training.json`` and its tables, alone or beside those of a timed run."""

from pathlib import Path

from loopmark.bench.records import tables
from loopmark.bench.records.files import as_json, read_json, replace_file
from loopmark.bench.records.training import TRAINING_VERSION, Training
from loopmark.bench.records.training_samples import COLUMNS, TABLES, TrainingSamples

TRAINING_FILE = "training.json"


def write_training(folder: Path, training: Training, samples: TrainingSamples) -> None:
    """Keep ``training`` in ``folder``, each file replaced in one move; ``training.json`` last."""
    content = as_json(training)
    contents = {name: tables.as_parquet(tables.typed(COLUMNS[name], getattr(samples, name))) for name in TABLES}
    for name, table in contents.items():
        replace_file(folder / f"{name}.parquet", table)
    replace_file(folder / TRAINING_FILE, content)


def read_training(folder: Path) -> tuple[Training, TrainingSamples] | None:
    """The training that ``folder`` holds; None where it holds none.

    Raises:
        BadInput: it is damaged, too new, or lacks a table.
    """
    path = folder / TRAINING_FILE
    training = read_json(path, Training, "training_version", TRAINING_VERSION)
    if training is None:
        return None
    samples = TrainingSamples(**{name: tables.read(folder, name, COLUMNS[name]) for name in TABLES})
    if samples.evaluations["seconds"].isna().any():
        raise tables.damaged(folder / "evaluations.parquet", "a measurement should have its seconds")
    for table, column, count in (
        (samples.evaluations, "trial", len(training.trials)),
        (samples.training_losses, "trial", len(training.trials)),
        (samples.deviations, "proof", len(training.proofs)),
    ):
        if len(table) and not table[column].between(0, count - 1).all():
            raise tables.damaged(path, f"a table names a {column} that there is none of")
    return training, samples
