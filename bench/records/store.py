"""A run's folder: create it, write it completely or not at all, find it, and read it with helpful errors."""

import contextlib
import glob
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from loopmark.bench.errors import BadInput
from loopmark.bench.records.ceilings import CEILINGS_FILE, Ceilings, read_ceilings
from loopmark.bench.records.files import LEAST_SECONDS, damaged, line, read_record, writing_to
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import COLUMNS, TABLES, Samples, expect, read_columns, typed, write_with_tables
from loopmark.bench.records.training import TRAINING_FILE, Training, TrainingSamples, read_training

T = TypeVar("T")

RUN_FILE = "run.json"
GIVE_A_RUN = "give a folder that `loopmark run` wrote"


def create_folder(root: Path, machine: str, started: str, ending: str = "") -> Path:
    """A new, empty folder for a run under ``root/machine``, named by its start (UTC, ISO 8601) and an ``ending``."""
    stamp = folder_name(started) + ending
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        folder = root / machine / f"{stamp}{suffix}"
        with writing_to(root):
            ignored_folder(root, machine)
            try:
                folder.mkdir()
            except FileExistsError:
                if folder.is_dir():
                    continue
                raise BadInput(f"{folder} exists and is not a folder; choose another --out") from None
        return folder
    raise BadInput(f"{root / machine} holds 999 runs of {stamp}; choose another --out")


def ignored_folder(root: Path, machine: str) -> Path:
    """The folder of ``machine`` under ``root``. The outermost folder created here gets a ``.gitignore``."""
    folder = root / machine
    made = next((one for one in (root, folder) if not one.exists()), None)
    folder.mkdir(parents=True, exist_ok=True)
    if made:
        (made / ".gitignore").write_text("*\n")
    return folder


def folder_name(started: str) -> str:
    """``20260304-050607``, from the start of the run; ``create_folder`` numbers runs of the same second."""
    return started.replace("-", "").replace(":", "").replace("T", "-")[:15]


def is_of_a_run(path: Path) -> bool:
    """True if ``path`` is a file of the run in its folder."""
    own = (RUN_FILE, CEILINGS_FILE, TRAINING_FILE)
    return (path.name in own or path.suffix == ".parquet") and (path.parent / RUN_FILE).exists()


def refuse_unwritable_folder(out: Path) -> None:
    """Raise BadInput if this folder of results could not be created or written to."""
    there = next((folder for folder in (out, *out.parents) if folder.exists()), Path())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise BadInput(f"cannot write to {out}: {there} is not a folder that you may write to; choose another --out")


def remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if [file.name for file in folder.iterdir()] == [".gitignore"]:
            (folder / ".gitignore").unlink()
        folder.rmdir()


def write(folder: Path, run: Run, samples: Samples) -> None:
    tables = {name: typed(columns, getattr(samples, name)) for name, columns in COLUMNS.items()}
    write_with_tables(folder / RUN_FILE, run, tables)


def read(folder: Path) -> tuple[Run, Samples]:
    """The run and samples in ``folder``. Raises BadInput if there is no run, or it is damaged or too new."""
    run = read_run(folder)
    return run, Samples(**{name: read_table(folder, name, run) for name in TABLES})


def read_run(folder: Path) -> Run:
    path = folder / RUN_FILE
    run = read_record(path, Run, unreadable=GIVE_A_RUN)
    if run is None:
        raise BadInput(f"{folder} {'has no run.json' if folder.is_dir() else 'is not a folder'}; {GIVE_A_RUN}")
    if not run.cases:
        raise BadInput(f"{path} holds no case; repeat the run")
    seen: set[tuple[str, str, bool]] = set()
    for place, case in enumerate(run.cases):
        if (key := (case.workload, case.loop, case.repeat)) in seen:
            raise damaged(path, f"run.cases[{place}] repeats {case.loop!r:.60} on {case.workload!r:.60}")
        seen.add(key)
        if case.batch_size is not None and case.batch_size < 1:
            raise damaged(path, f"run.cases[{place}].batch_size should be at least 1, not {case.batch_size}")
    return run


def digest_of(folder: Path) -> str:
    """The SHA-256 of ``run.json``: equal for copies of one run, and different for different runs."""
    return sha256((folder / RUN_FILE).read_bytes()).hexdigest()


def read_table(folder: Path, name: str, run: Run) -> pd.DataFrame:
    """One of the ``TABLES`` of ``run``. Raises BadInput like ``read``."""
    frame = read_columns(folder, name, COLUMNS[name], categories=["phase"])
    path = folder / f"{name}.parquet"
    case, launch = frame["case"], frame["launch"]
    # By their index, since a launch that failed is missing from a case's launches, and later ones are not.
    launches = np.array([1 + max((one.index for one in each.launches), default=-1) for each in run.cases])
    expect(path, case, case < len(launches), f"run.json has {len(launches)} case(s)")
    if len(frame) and launch.max() >= launches.min():  # else no row needs a check by its case
        expect(path, launch, launch < launches[case], "run.json has no such launch of its case")
    if name == "blocks":
        steps, host, device = (frame[column] for column in ("steps", "host_seconds", "device_seconds"))
        expect(path, steps, steps > 0, "a block has at least one step")
        expect(path, host, host >= LEAST_SECONDS, "a block takes some time")
        timed = device.isna() | (device >= LEAST_SECONDS)
        expect(path, device, timed, "a block takes some time on its device, or has no device seconds at all")
    return frame


class Whole(NamedTuple):
    """A run with the other data in its folder: its training, and its device's ceilings."""

    run: Run
    samples: Samples
    trained: tuple[Training, TrainingSamples] | None
    ceilings: Ceilings | None


def read_whole(folder: Path) -> Whole:
    """Everything in ``folder``. Raises BadInput if it has no run, or any part is damaged or of another run."""
    run, samples = read(folder)
    return Whole(run, samples, training_of(folder, run), ceilings_of(folder, run))


def salvage(folder: Path) -> Whole:
    """The readable parts of ``folder``. Each unreadable part becomes a warning of the run.

    Raises BadInput if it has no run, or if blocks or losses, which every verdict needs, are damaged.
    """
    run, lost = read_run(folder), []

    def attempt(read: Callable[[], T], without: T, unknown: str) -> T:
        try:
            return read()
        except BadInput as error:
            lost.append(f"{unknown} is not known: {error}")
            return without

    needed = {name: read_table(folder, name, run) for name in ("blocks", "losses")}
    empty, table = Samples.empty(), partial(read_table, folder, run=run)
    phases = attempt(lambda: table("phases"), empty.phases, "how long each phase takes")
    warmup = attempt(lambda: table("warmup"), empty.warmup, "how each loop warmed up")
    trained = attempt(lambda: training_of(folder, run), None, "how the loops train")
    ceilings = attempt(lambda: ceilings_of(folder, run), None, "what the device can do")
    warned = replace(run, warnings=(*run.warnings, *lost))
    return Whole(warned, Samples(phases, warmup=warmup, **needed), trained, ceilings)


def training_of(folder: Path, run: Run) -> tuple[Training, TrainingSamples] | None:
    """The training of ``run``; None if there is none. Raises BadInput like ``read_training``, and for another run's."""
    trained = read_training(folder)
    own = {(case.workload, case.loop) for case in run.cases if not case.repeat}
    its = [one.key for part in (trained[0].trials, trained[0].proofs) for one in part] if trained else []
    if other := next((key for key in its if key not in own), None):
        named = f"{other[1]!r:.60} on {other[0]!r:.60}"
        raise BadInput(f"{folder / TRAINING_FILE} belongs to another run: {named} is not in this one; remove it")
    return trained


def ceilings_of(folder: Path, run: Run) -> Ceilings | None:
    """The ceilings of the device of ``run``; None if unknown. Raises BadInput like ``read_ceilings``, or if not its."""
    path = folder / CEILINGS_FILE
    ceilings = read_ceilings(path)
    own = run.plan.device, run.plan.threads, run.machine.fingerprint
    if ceilings and (ceilings.device, ceilings.environment.threads, ceilings.machine.fingerprint) != own:
        raise BadInput(f"{path} belongs to another device, machine or number of threads; remove it")
    return ceilings


def run_folders(root: Path, warn: Callable[[str], None], files: Collection[str] = (RUN_FILE,)) -> list[Path]:
    """Every folder at or under ``root`` with one of ``files``, sorted. Raises BadInput for no folder, or no run.

    Folders within a run are not searched, and links to folders are not followed, since they could form a circle.
    """
    if not root.is_dir():
        raise BadInput(f"{root} is not a folder; give one that holds runs, such as results")
    found = []
    for folder, inside, kept in os.walk(root, onerror=lambda error: warn(f"cannot look into {error.filename}")):
        if not set(kept).isdisjoint(files):
            found.append(Path(folder))
            inside.clear()
    if not found:
        raise BadInput(f"{root} holds no run; give a folder that `loopmark run` wrote to, such as results")
    return sorted(found)


LATEST = "latest"


def newest_first(folders: Iterable[Path]) -> list[Path]:
    """Run folders by the start of the run, which their names tell; that of a renamed folder is read."""
    return sorted(folders, key=_age, reverse=True)


def _age(folder: Path) -> tuple[str, int, str]:
    stamp = re.fullmatch(r"(\d{8}-\d{6})(?:-(\d+))?", folder.name)
    if stamp:
        return stamp[1], int(stamp[2] or 1), str(folder)
    with contextlib.suppress(OSError, ValueError):
        started = re.search(r'"started": *"([^"]+)"', (folder / RUN_FILE).read_text())
        return folder_name(started[1]) if started else "", 0, str(folder)
    return "", 0, str(folder)


def named(name: str, root: Path, files: Collection[str] = (RUN_FILE,)) -> Path:
    """The run folder under ``root`` that ``name`` stands for; any other name is a path.

    ``latest`` is the newest run, ``latest~1`` the one before. Raises BadInput if it has no such run, or if several
    folders begin with ``name``.
    """
    number = re.fullmatch(rf"{LATEST}(?:~(\d{{1,9}}))?", name)
    if Path(name).exists() or (not number and (not name or not root.is_dir())):
        return Path(name)
    folders = newest_first(run_folders(root, lambda _: None, files))
    if number:
        before = int(number[1] or 0)
        if before >= len(folders):
            held = f"{len(folders)} run{'' if len(folders) == 1 else 's'}"
            raise BadInput(f"{root} holds {held}; there is no {name}: see loopmark runs")
        return folders[before]
    begun = [
        folder for folder in folders if name in (folder.name[: len(name)], str(folder.relative_to(root))[: len(name)])
    ]
    if len(begun) > 1:
        shown = ", ".join(str(folder) for folder in begun[:3])
        raise BadInput(f"{line(name)} begins the names of {len(begun)} runs ({shown}{', …' if len(begun) > 3 else ''})")
    return begun[0] if begun else Path(name)


def runs_at(places: Iterable[str]) -> list[Path]:
    """The run folders at ``places``: folders that are or hold runs, and globs for them; each run once.

    Raises BadInput if there is no run at any place; a single place without a run gives a warning.
    """
    found: dict[Path, Path] = {}
    mistakes: list[BadInput] = []

    def attempt(look: Callable[[], list[Path]]) -> list[Path]:
        try:
            return look()
        except BadInput as error:
            mistakes.append(error)
            return []

    for place in places:
        for path in attempt(partial(_folders_at, place)):
            for folder in attempt(partial(run_folders, path, warnings.warn)):
                found.setdefault(folder.resolve(), folder)
    if not found:
        nowhere = "no place to look for runs was given; give a folder that holds runs, such as results"
        raise mistakes[0] if mistakes else BadInput(nowhere)
    for mistake in mistakes:
        warnings.warn(f"left out: {mistake}", UserWarning, stacklevel=3)
    return list(found.values())


def _folders_at(place: str) -> list[Path]:
    """The folders that ``place`` names. Raises BadInput if there are none."""
    if not place:
        raise BadInput("'' is not a folder; give one that holds runs, such as results")
    try:
        path = Path(place).expanduser()
        if path.exists() or not glob.has_magic(place):
            return [path]
        matches = [Path(match) for match in sorted(glob.glob(os.fspath(path), recursive=True))]  # noqa: PTH207 - absolute too
        # A run's own file stands for its folder.
        folders = [match.parent if match.name == RUN_FILE else match for match in matches]
        if folders := [folder for folder in folders if folder.is_dir()]:
            return folders
    except (OSError, ValueError, RuntimeError) as error:  # too long; a NUL in it; the ~ of an unknown user
        raise BadInput(f"cannot look for runs in {line(place)}: {line(error)}") from None
    raise BadInput(f"no folder matches {place}; give one that holds runs, such as results")
