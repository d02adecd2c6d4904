"""The processes of a watched script: their rows, read while they are written, and the run that they become."""

import json
import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.measure.watching.loopmark_hooks import BLOCK_SECONDS
from loopmark.bench.records.machine import Environment, Machine
from loopmark.bench.records.run import Case, Launch, Plan, Run, Watched
from loopmark.bench.records.samples import COLUMNS, Samples, typed

SCRIPT = "script"  # the loop's name
UNDISTURBED: dict[str, Any] = {"involuntary_switches": 0, "steal_seconds": 0.0, "sm_clock_hertz": math.nan}
UNDISTURBED |= {"throttle_reasons": "", "foreign_processes": 0}  # unknown: nothing looks at them while it is watched
LATEST = 8  # readings, each of about half a second
MEMORY_KIND = {"cpu": "resident set, read twice a second", "cuda": "device memory allocated"}


def script_name(facts: dict[str, Any]) -> str:
    """``train.py``: the script, as its report calls it; the package's name for a ``__main__.py``."""
    script = Path(facts["argv"][0])
    name = script.parent.name if script.name == "__main__.py" else script.name
    return name if name not in ("", "-", "-c") else "python"


class WatchedProcess:
    """The rows of one process, as its hooks write them; for the columns see ``loopmark_hooks``."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._parts = path, 0, list[NDArray[np.float64]]()
        self.facts: dict[str, Any] = {}

    def poll(self) -> bool:
        """Read what is new; True if the process has taken steps."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            new = file.read()
        if not self.facts:
            header, newline, new = new.partition(b"\n")
            if not newline:
                return False
            self.facts = json.loads(header)
            self._at = len(header) + 1
        width = len(self.facts["columns"]) + self.facts["clocks"] * len(self.facts["phases"])
        whole = len(new) // (8 * width) * 8 * width
        self._at += whole
        if whole:
            self._parts.append(np.frombuffer(new[:whole]).reshape(-1, width))
        return bool(self._parts)

    @property
    def rank(self) -> int | None:
        rank = self.facts.get("rank")
        return rank if isinstance(rank, int) else None

    @property
    def name(self) -> str:
        return script_name(self.facts)

    @property
    def steps(self) -> int:
        """The steps that it has taken, as far as was read."""
        return int(self._parts[-1][-1, 0]) + 1 if self._parts else 0

    @property
    def is_cuda(self) -> bool:
        return str(self.facts["device"]).startswith("cuda")

    def latest(self) -> pd.DataFrame:
        """The rows of the last few readings, each step with its host seconds by phase."""
        return self._frame(np.concatenate(self._parts[-LATEST:]))

    def rows(self) -> pd.DataFrame:
        """All rows so far."""
        return self._frame(np.concatenate(self._parts))

    def _frame(self, rows: NDArray[np.float64]) -> pd.DataFrame:
        device = [f"device {phase}" for phase in self.facts["phases"]] if self.facts["clocks"] == 2 else []
        return pd.DataFrame(rows, columns=[*self.facts["columns"], *self.facts["phases"], *device])


class WatchedProcesses:
    """All processes of one script that took steps, in a folder that holds a file for each."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._all = folder, dict[Path, WatchedProcess]()

    def poll(self) -> list[WatchedProcess]:
        """Read what is new, and return the processes that have taken steps: rank 0 first, then by their start."""
        for path in self._folder.glob("*.rows"):
            self._all.setdefault(path, WatchedProcess(path))
        stepping = [process for process in self._all.values() if process.poll()]
        return sorted(stepping, key=lambda one: (one.rank or 0, one.facts["first_step"]))

    def why_none(self) -> str:
        """The reason why no process took a step, as far as their marks tell."""
        came = {path.suffix for path in self._folder.iterdir()}
        if ".torch" in came:
            return "no optimizer took a step after a backward pass"
        if ".python" in came:
            return "no Python process of the command imported torch"
        return "the command started no Python that loads Loopmark's hooks (python -I, -E and -S do not load them)"


def run_of(
    processes: list[WatchedProcess],
    plan: Plan,
    machine: Machine,
    environment: Environment,
    started: datetime,
    seconds: float,
    watched: Watched,
) -> tuple[Run, Samples, pd.DataFrame]:
    """The run of a watched script, still without a name, its samples, and the table of its steps."""
    first = processes[0].facts
    cases, phases, blocks, losses, steps = [], [], [], [], []
    for case, process in enumerate(processes):
        rows = process.rows()
        loop = SCRIPT if len(processes) == 1 else f"rank {case if process.rank is None else process.rank}"
        cases.append(_case(process, rows, plan.workloads[0], loop, started))
        place = {"case": case, "launch": 0}
        counted = rows[rows["counts"] == 1].astype({"block": int, "step": int})
        counted = counted.assign(round=counted["block"] // 4)
        phases.append(_phases(process, counted[counted["lapped"] == 1]).assign(**place))
        blocks.append(_blocks(counted).assign(**place))
        seen = rows[["step", "loss_seen"]].dropna().replace(math.inf, math.nan)
        losses.append(seen.rename(columns={"loss_seen": "loss"}).assign(**place))
        steps.append(_steps(process, rows[rows["counts"] == 1], started).assign(case=case))
    frames = {"phases": phases, "blocks": blocks, "losses": losses}
    tables = {name: typed(COLUMNS[name], pd.concat(parts)) for name, parts in frames.items()}
    samples = replace(Samples.empty(), **tables)
    software = {"python": first["python"], "torch": first["torch"], "cuda": first["cuda"], "threads": first["threads"]}
    environment = replace(environment, **software)
    plan = replace(plan, device=first["device"], threads=first["threads"], loops=tuple(case.loop for case in cases))
    plan = replace(plan, baseline=cases[0].loop, block_seconds=BLOCK_SECONDS)
    interrupted = False
    run = Run(
        "", started.isoformat(timespec="seconds"), seconds, interrupted, plan, machine, environment, tuple(cases),
        watched=replace(watched, optimizers=tuple(first["optimizers"])),
    )  # fmt: skip
    return run, samples, pd.concat(steps)


def _case(process: WatchedProcess, rows: pd.DataFrame, workload: str, loop: str, started: datetime) -> Case:
    facts = process.facts
    lapped = rows[(rows["lapped"] == 1) & (rows["counts"] == 1)]
    present = [phase for phase in facts["phases"] if (lapped[phase] > 0).any()]
    samples = rows["samples"].dropna()
    memory = rows["memory"].max()
    launch = Launch(
        index=0, setup_seconds=None, first_step_seconds=facts["first_step"] - started.timestamp(), warmup_steps=None,
        warmup_seconds=None, steady=None, steady_step_seconds=None, excess_seconds=None, compile_seconds=None,
        compile_cache=None, steps=int(rows["step"].iloc[-1]) + 1,
        peak_memory_bytes=int(memory) if math.isfinite(memory) else None, skipped_steps=None, final_scale=None,
        pid=facts["pid"], seen_per_step={"samples": float(samples.mean())} if len(samples) else {},
    )  # fmt: skip
    kind = MEMORY_KIND["cuda" if process.is_cuda else "cpu"]
    known = facts["parameters"], None, tuple(present), kind, (launch,)
    return Case(workload, loop, False, "ok", None, None, *known)


def _blocks(counted: pd.DataFrame) -> pd.DataFrame:
    """A row for each block of steps that count, timed with laps or without."""
    groups = counted.groupby("block", sort=True)
    frame = groups.agg(
        round=("round", "first"), lapped=("lapped", "first"), first_step=("step", "first"), steps=("step", "size"),
        host_seconds=("seconds", "sum"), device_seconds=("device_seconds", lambda column: column.sum(skipna=False)),
    )  # fmt: skip
    frame["block"] = frame.index % 4
    return frame.assign(**UNDISTURBED)


def _phases(process: WatchedProcess, lapped: pd.DataFrame) -> pd.DataFrame:
    """A row for each phase of each step with laps."""
    names = [phase for phase in process.facts["phases"] if (lapped[phase] > 0).any()]
    place = lapped[["round", "block", "step"]].loc[lapped.index.repeat(len(names))]
    host = lapped[names].to_numpy().ravel()
    both = process.facts["clocks"] == 2
    device = lapped[[f"device {name}" for name in names]].to_numpy().ravel() if both else np.full(len(host), np.nan)
    return place.assign(block=place["block"] % 4, phase=names * len(lapped), host_seconds=host, device_seconds=device)


def _steps(process: WatchedProcess, rows: pd.DataFrame, started: datetime) -> pd.DataFrame:
    events = process.facts["events"]
    texts = {
        bits: ", ".join(name for n, name in enumerate(events) if bits >> n & 1) for bits in range(1 << len(events))
    }
    return pd.DataFrame(
        {
            "step": rows["step"],
            "ended_seconds": rows["ended"] + process.facts["start"] - started.timestamp(),
            "host_seconds": rows["seconds"],
            "device_seconds": rows["device_seconds"],
            "lapped": rows["lapped"] == 1,
            "events": rows["events"].astype(int).map(texts),
            "samples": rows["samples"],
            "memory_bytes": rows["memory"],
        }
    )
