"""A run's folder: written whole or not at all, and read back with errors that say what to do."""

import json
import os
from pathlib import Path

import pandas as pd

from bench.errors import BadInput
from bench.records.codec import Mismatch, decode, encode
from bench.records.run import FORMAT_VERSION, Run
from bench.records.samples import TABLES, Samples, typed

RUN_FILE = "run.json"


def create_folder(root: Path, machine: str, started: str) -> Path:
    """A new, empty folder for a run under ``root/machine``, named by its start (UTC, ISO 8601)."""
    stamp = started.replace("-", "").replace(":", "").replace("T", "-")[:15]
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        folder = root / machine / f"{stamp}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise BadInput(f"{folder} is in the way: it is no folder; choose another --out") from None
        except OSError as error:
            raise BadInput(f"cannot write to {root}: {error.strerror}; choose another --out") from None
        else:
            return folder
    raise BadInput(f"{root / machine} holds 999 runs of {stamp}; choose another --out")


def write(folder: Path, run: Run, samples: Samples) -> None:
    """Keep ``run`` and ``samples`` in ``folder``, each file replaced in one move."""
    for name in TABLES:
        _replace(folder / f"{name}.parquet", getattr(samples, name).to_parquet(index=False))
    text = json.dumps(encode(run), indent=2, allow_nan=False, ensure_ascii=False)
    # run.json goes last: a folder that has it has everything.
    _replace(folder / RUN_FILE, (text + "\n").encode())


def read(folder: Path) -> tuple[Run, Samples]:
    """The run and samples that ``folder`` holds. Raises BadInput for one that is none, broken, or too new."""
    run = read_run(folder)
    return run, Samples(**{name: _read_table(folder, name) for name in TABLES})


def read_run(folder: Path) -> Run:
    """The run that ``folder`` holds, without its samples."""
    path = folder / RUN_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "has no run.json" if folder.is_dir() else "is not a folder"
        raise BadInput(f"{folder} {what}; give a folder that `loopmark run` wrote") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {path}: {_line(error)}; give a folder that `loopmark run` wrote") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or version < 1:
        raise BadInput(f"{path} is not Loopmark's: it has no format_version")
    if version > FORMAT_VERSION:
        raise BadInput(
            f"{path} was written in format {version}; this Loopmark reads up to {FORMAT_VERSION}: upgrade it"
        )
    try:
        run = decode(Run, content)
    except Mismatch as error:
        raise BadInput(f"{path} is damaged: {error}; copy the folder again or repeat the run") from None
    if not run.cases:
        raise BadInput(f"{path} holds no case; repeat the run")
    return run


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.parquet"
    try:
        return typed(name, pd.read_parquet(path))
    except FileNotFoundError:
        raise BadInput(f"{folder} lacks {path.name}; copy the whole folder, or repeat the run") from None
    except KeyError as error:
        raise BadInput(f"{path} is damaged: {_line(error)}; copy the folder again or repeat the run") from None
    except (OSError, ValueError, TypeError) as error:  # pyarrow's own errors derive from these
        raise BadInput(f"cannot read {path}: {_line(error)}; copy the folder again or repeat the run") from None


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)  # noqa: PTH105 - Path.replace is the same call; this one says what it is


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
