"""A run's folder: written whole or not at all, and read back with errors that say what to do."""

import contextlib
import json
import os
from pathlib import Path

import pandas as pd

from bench.errors import BadInput
from bench.records import tables
from bench.records.codec import Mismatch, decode, encode
from bench.records.run import FORMAT_VERSION, Run
from bench.records.samples import COLUMNS, TABLES, Samples, typed
from bench.records.tables import line

RUN_FILE = "run.json"


def create_folder(root: Path, machine: str, started: str, ending: str = "") -> Path:
    """A new, empty folder for a run under ``root/machine``, named by its start (UTC, ISO 8601) and an ``ending``."""
    stamp = started.replace("-", "").replace(":", "").replace("T", "-")[:15] + ending
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        folder = root / machine / f"{stamp}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise BadInput(f"{folder} is in the way: it is no folder; choose another --out") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise BadInput(f"cannot write to {root}: {line(error)}; choose another --out") from None
        else:
            return folder
    raise BadInput(f"{root / machine} holds 999 runs of {stamp}; choose another --out")


def remove_if_empty(folder: Path) -> None:
    """Take back a folder that nothing was written to after all; one that holds anything stays."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def write(folder: Path, run: Run, samples: Samples) -> None:
    """Keep ``run`` and ``samples`` in ``folder``, each file replaced in one move."""
    # All is encoded before anything is replaced. A lone surrogate, which is how Python holds an argument or a
    # variable that is not UTF-8, becomes its JSON escape.
    text = json.dumps(encode(run), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    run_content = text.encode(errors="backslashreplace")
    frames = {name: typed(name, getattr(samples, name)) for name in TABLES}
    contents = {name: tables.as_parquet(frame) for name, frame in frames.items()}
    for name, table in contents.items():
        replace_file(folder / f"{name}.parquet", table)
    # run.json goes last: a folder that has it has everything.
    replace_file(folder / RUN_FILE, run_content)


def read(folder: Path) -> tuple[Run, Samples]:
    """The run and samples that ``folder`` holds. Raises BadInput for one that is none, broken, or too new."""
    run = read_run(folder)
    return run, Samples(**{name: read_table(folder, name) for name in TABLES})


def read_run(folder: Path) -> Run:
    """The run that ``folder`` holds, without its samples."""
    path = folder / RUN_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        what = "has no run.json" if folder.is_dir() else "is not a folder"
        raise BadInput(f"{folder} {what}; give a folder that `loopmark run` wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = line(error)
        raise BadInput(f"cannot read {path}: {reason}; give a folder that `loopmark run` wrote") from None
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
        raise tables.damaged(path, error) from None
    if not run.cases:
        raise BadInput(f"{path} holds no case; repeat the run")
    return run


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """One of the ``TABLES`` alone, for who reads many runs. Raises BadInput as ``read`` does."""
    frame = tables.read(folder, name, COLUMNS[name])
    if name == "blocks":
        _expect_sound_blocks(folder / f"{name}.parquet", frame)
    return frame


def _expect_sound_blocks(path: Path, blocks: pd.DataFrame) -> None:
    if not ((blocks["steps"] > 0) & (blocks["host_seconds"] > 0)).all():
        raise tables.damaged(path, "a block should have at least one step and take some time")
    if (blocks["device_seconds"] == 0).any():
        raise tables.damaged(path, "a block should take some time on its device, or have no device seconds at all")


def replace_file(path: Path, content: bytes) -> None:
    """Write ``path`` in one move. A link in its place is replaced, not followed: the folder may be anyone's."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb") as file:
            file.write(content)
        os.replace(partial, path)  # noqa: PTH105 - Path.replace is the same call; this one says what it is
    except BaseException:  # a full disk, Ctrl-C: nothing half-written stays
        partial.unlink(missing_ok=True)
        raise
