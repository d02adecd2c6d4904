"""A run's folder: written whole or not at all, and read back with errors that say what to do."""

import contextlib
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from loopmark.bench.errors import BadInput
from loopmark.bench.records import tables
from loopmark.bench.records.files import as_json, read_json, replace_file
from loopmark.bench.records.limits import LEAST_SECONDS
from loopmark.bench.records.run import FORMAT_VERSION, Run
from loopmark.bench.records.samples import CATEGORIES, COLUMNS, TABLES, Samples, typed
from loopmark.bench.records.tables import line

RUN_FILE = "run.json"
GIVE_A_RUN = "give a folder that `loopmark run` wrote"


def create_folder(root: Path, machine: str, started: str, ending: str = "") -> Path:
    """A new, empty folder for a run under ``root/machine``, named by its start (UTC, ISO 8601) and an ``ending``."""
    stamp = folder_name(started) + ending
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


def folder_name(started: str) -> str:
    """``20260304-050607``; of several runs of one second, the others have a number after it."""
    return started.replace("-", "").replace(":", "").replace("T", "-")[:15]


def is_of_a_run(path: Path) -> bool:
    """Whether a run lies beside ``path`` that would lose a file of its own with it."""
    own = (RUN_FILE, "ceilings.json", "training.json")
    return (path.name in own or path.suffix == ".parquet") and (path.parent / RUN_FILE).exists()


def remove_if_empty(folder: Path) -> None:
    """Take back a folder that nothing was written to after all; one that holds anything stays."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def write(folder: Path, run: Run, samples: Samples) -> None:
    """Keep ``run`` and ``samples`` in ``folder``, each file replaced in one move."""
    run_content = as_json(run)  # all is encoded before anything is replaced
    frames = {name: typed(name, getattr(samples, name)) for name in TABLES}
    contents = {name: tables.as_parquet(frame) for name, frame in frames.items()}
    for name, table in contents.items():
        replace_file(folder / f"{name}.parquet", table)
    # run.json goes last: a folder that has it has everything.
    replace_file(folder / RUN_FILE, run_content)


def read(folder: Path) -> tuple[Run, Samples]:
    """The run and samples that ``folder`` holds. Raises BadInput for one that is none, broken, or too new."""
    run = read_run(folder)
    return run, Samples(**{name: read_table(folder, name, run) for name in TABLES})


def read_run(folder: Path) -> Run:
    """The run that ``folder`` holds, without its samples."""
    path = folder / RUN_FILE
    run = read_json(path, Run, "format_version", FORMAT_VERSION, unreadable=GIVE_A_RUN)
    if run is None:
        raise BadInput(f"{folder} {'has no run.json' if folder.is_dir() else 'is not a folder'}; {GIVE_A_RUN}")
    if not run.cases:
        raise BadInput(f"{path} holds no case; repeat the run")
    seen: set[tuple[str, str, bool]] = set()
    for place, case in enumerate(run.cases):
        if (key := (case.workload, case.loop, case.repeat)) in seen:
            raise tables.damaged(path, f"run.cases[{place}] is {case.loop!r:.60} on {case.workload!r:.60} once more")
        seen.add(key)
        if case.batch_size is not None and case.batch_size < 1:
            raise tables.damaged(path, f"run.cases[{place}].batch_size should be at least 1, not {case.batch_size}")
    return run


def digest_of(folder: Path) -> str:
    """What the copies of one run have in common, and no two runs: the SHA-256 of ``run.json``."""
    return sha256((folder / RUN_FILE).read_bytes()).hexdigest()


def read_table(folder: Path, name: str, run: Run) -> pd.DataFrame:
    """One of the ``TABLES`` of ``run`` alone, for who reads many runs. Raises BadInput as ``read`` does."""
    frame = tables.read(folder, name, COLUMNS[name], CATEGORIES.get(name, ()))
    path = folder / f"{name}.parquet"
    _expect_launches_of(run, path, frame)
    if name == "blocks":
        _expect_sound_blocks(path, frame)
    return frame


def _expect_launches_of(run: Run, path: Path, rows: pd.DataFrame) -> None:
    case, launch = rows["case"], rows["launch"]
    # By their index: a launch that came to nothing has no place among a case's launches, and those after it have.
    launches = np.array([1 + max((one.index for one in each.launches), default=-1) for each in run.cases])
    tables.expect(path, case, case < len(launches), f"run.json has {len(launches)} case(s)")
    if len(rows) and launch.max() >= launches.min():  # else no row needs to be looked at by its case
        tables.expect(path, launch, launch < launches[case], "run.json has no such launch of its case")


def _expect_sound_blocks(path: Path, blocks: pd.DataFrame) -> None:
    steps, host, device = (blocks[name] for name in ("steps", "host_seconds", "device_seconds"))
    tables.expect(path, steps, steps > 0, "a block has at least one step")
    tables.expect(path, host, host >= LEAST_SECONDS, "a block takes some time")
    timed = device.isna() | (device >= LEAST_SECONDS)
    tables.expect(path, device, timed, "a block takes some time on its device, or has no device seconds at all")
