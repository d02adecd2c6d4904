"""Training's part of a run's folder: ``training.json`` and its tables, alone or beside those of a timed run."""

import json
from pathlib import Path

from bench.errors import BadInput
from bench.records import tables
from bench.records.codec import Mismatch, decode, encode
from bench.records.store import replace_file
from bench.records.training import TRAINING_VERSION, Training
from bench.records.training_samples import COLUMNS, TABLES, TrainingSamples

TRAINING_FILE = "training.json"


def write_training(folder: Path, training: Training, samples: TrainingSamples) -> None:
    """Keep ``training`` in ``folder``, each file replaced in one move; ``training.json`` last."""
    text = json.dumps(encode(training), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    contents = {name: tables.as_parquet(tables.typed(COLUMNS[name], getattr(samples, name))) for name in TABLES}
    for name, content in contents.items():
        replace_file(folder / f"{name}.parquet", content)
    replace_file(folder / TRAINING_FILE, text.encode(errors="backslashreplace"))


def read_training(folder: Path) -> tuple[Training, TrainingSamples] | None:
    """The training that ``folder`` holds; None where it holds none.

    Raises:
        BadInput: it is damaged, too new, or lacks a table.
    """
    path = folder / TRAINING_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot read {path}: {tables.line(error)}; {tables.AGAIN}") from None
    version = content.get("training_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or version < 1:
        raise BadInput(f"{path} is not Loopmark's: it has no training_version")
    if version > TRAINING_VERSION:
        raise BadInput(
            f"{path} was written in format {version}; this Loopmark reads up to {TRAINING_VERSION}: upgrade it"
        )
    try:
        training = decode(Training, content, "training")
    except Mismatch as error:
        raise tables.damaged(path, error) from None
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
