"""Many runs as tidy frames for a notebook: one row per item, units in the column names, no judging."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from loopmark.bench.errors import BadInput
from loopmark.bench.records.run import Case, Launch, Run
from loopmark.bench.records.samples import Samples, seconds_of
from loopmark.bench.records.store import read_run, read_table

NAMES = ("run", "machine", "workload", "loop")  # categories, the same in every frame, so that frames join and group
RUN_COLUMNS = [
    "run", "machine", "folder", "device", "size", "started", "seconds", "interrupted", "threads", "torch", "cuda",
    "driver", "python", "cpu", "gpu", "memory_bytes", "loopmark", "revision", "warnings", "baseline",
]  # fmt: skip


@dataclass(frozen=True)
class Frames:
    """The frames of some runs, each read on first access and then kept.

    Every frame has ``run`` and ``machine``; from ``cases`` on also ``workload``, ``loop`` and ``repeat``, which is True
    for the baseline's repetition, the measure of noise. Together they identify a case. ``launch`` counts from 0 within
    a case. Values that are unknown or were not measured are missing (NaN, NaT or None), and never 0.

    A table that cannot be read gives a ``UserWarning`` with its name, and the frame has the other runs' rows.
    """

    runs_by_name: dict[str, tuple[Path, Run]]  # a name shared by runs has the machine's before it, or is the folder

    @classmethod
    def of(cls, folders: Iterable[Path]) -> "Frames":
        """The runs in ``folders``. Raises BadInput if none can be read."""
        found, mistakes = [], []
        for folder in folders:
            try:
                found.append((folder, _sound(read_run(folder))))
            except BadInput as error:
                mistakes.append(error)
        if not found:
            raise mistakes[0] if mistakes else BadInput("no run was given; give a folder that `loopmark run` wrote")
        for mistake in mistakes:
            _warn(mistake)
        return cls(dict(zip(_distinct(found), found, strict=True)))

    def __repr__(self) -> str:
        machines = {run.machine.name for _, run in self.runs_by_name.values()}
        frames = "runs, warnings, cases, launches, blocks, phases, warmup, losses"
        return f"<{len(self.runs_by_name)} run(s) of {len(machines)} machine(s); frames: {frames}>"

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run, with ``RUN_COLUMNS``: ``memory_bytes`` of the machine, and the number of ``warnings``."""
        rows = []
        for name, (folder, run) in self.runs_by_name.items():
            own = {"run": name, "machine": run.machine.name, "folder": os.fspath(folder), "warnings": len(run.warnings)}
            gpu = {"gpu": run.machine.gpus[0].name if run.machine.gpus else None}
            rows.append({**vars(run.machine), **vars(run.environment), **vars(run.plan), **vars(run), **own, **gpu})
        frame = pd.DataFrame(rows, columns=RUN_COLUMNS).astype({"threads": "Int64", "memory_bytes": "Int64"})
        frame["started"] = pd.to_datetime(frame["started"], utc=True, format="ISO8601", errors="coerce")
        return self._named(frame)

    @cached_property
    def warnings(self) -> pd.DataFrame:
        """One row per ``warning`` of a run, in chronological order."""
        runs = self.runs_by_name.items()
        rows = [(name, run.machine.name, warning) for name, (_, run) in runs for warning in run.warnings]
        return self._named(pd.DataFrame(rows, columns=["run", "machine", "warning"]).astype({"warning": "str"}))

    @cached_property
    def cases(self) -> pd.DataFrame:
        """One row per case, with most fields of ``Case`` under their names; ``launches`` is their number."""
        kept = ("status", "reason", "batch_size", "parameters", "phases", "memory_kind", "data_sha256", "attention")
        rows = [
            {**names, **{k: getattr(case, k) for k in kept}, "launches": len(case.launches)}
            for names, case in self._every_case()
        ]
        return self._named(pd.DataFrame(rows).astype({"batch_size": "Int64", "parameters": "Int64"}))

    @cached_property
    def launches(self) -> pd.DataFrame:
        """One row per launch: the fields of ``Launch`` under their names, without the GPU and the compilation."""
        kept = [field.name for field in fields(Launch) if field.name not in ("index", "gpu", "compilation")]
        columns = [*NAMES, "repeat", "launch", *kept]
        rows = [
            {**names, "launch": launch.index, **{k: getattr(launch, k) for k in kept}}
            for names, case in self._every_case()
            for launch in case.launches
        ]
        whole = dict.fromkeys(("warmup_steps", "steps", "peak_memory_bytes", "skipped_steps", "pid"), "Int64")
        seconds = dict.fromkeys((name for name in kept if name.endswith("_seconds")), "float64")
        others = {"steady": "boolean", "final_scale": "float64", "joules_per_step": "float64"}
        return self._named(pd.DataFrame(rows, columns=columns).astype({**whole, **seconds, **others}))

    @cached_property
    def blocks(self) -> pd.DataFrame:
        """One row per block, with ``seconds_per_step`` of the device's clock if it was timed, else the host's.

        Blocks with ``lapped`` were timed phase by phase; use the others to compare whole steps.
        """
        return self._table("blocks", lambda rows: rows.assign(seconds_per_step=seconds_of(rows) / rows["steps"]))

    @cached_property
    def phases(self) -> pd.DataFrame:
        """One row per phase of a lapped step, with ``seconds`` of the device's clock if it was timed, else the host's.

        A phase that repeats within a step (gradient accumulation) has a row for each repetition.
        """
        return self._table("phases", lambda rows: rows.assign(seconds=seconds_of(rows)).astype({"phase": "category"}))

    @cached_property
    def warmup(self) -> pd.DataFrame:
        """One row per warm-up step, with its ``seconds``."""
        return self._table("warmup")

    @cached_property
    def losses(self) -> pd.DataFrame:
        """One row per step whose ``loss`` was read; NaN if it was not finite."""
        return self._table("losses")

    def _table(self, table: str, finish: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows) -> pd.DataFrame:
        found = []
        for name, (folder, run) in self.runs_by_name.items():
            try:
                rows = read_table(folder, table, run)
            except BadInput as error:
                _warn(error)
                continue
            cases = self._named(pd.DataFrame([_names(name, run, case) for case in run.cases]))
            found.append(cases.iloc[rows["case"]].reset_index(drop=True).join(rows.drop(columns="case")))
        if found:
            return finish(self._named(pd.concat(found, ignore_index=True)))
        names = pd.DataFrame(columns=[*NAMES, "repeat"]).astype({"repeat": "bool"})
        return finish(self._named(names.join(getattr(Samples.empty(), table).drop(columns="case"))))

    def _every_case(self) -> Iterator[tuple[dict[str, Any], Case]]:
        for name, (_, run) in self.runs_by_name.items():
            yield from ((_names(name, run, case), case) for case in run.cases)

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.astype({name: kind for name, kind in self._categories.items() if name in frame})

    @cached_property
    def _categories(self) -> dict[str, pd.CategoricalDtype]:
        """A category type for each of ``NAMES``, with its values in the order of the runs."""
        machines = (run.machine.name for _, run in self.runs_by_name.values())
        workloads, loops = zip(*((case.workload, case.loop) for _, case in self._every_case()), strict=True)
        values = zip(NAMES, (self.runs_by_name, machines, workloads, loops), strict=True)
        return {name: pd.CategoricalDtype(list(dict.fromkeys(found))) for name, found in values}


def _names(name: str, run: Run, case: Case) -> dict[str, Any]:
    named = {"workload": case.workload, "loop": case.loop, "repeat": case.repeat}
    return {"run": name, "machine": run.machine.name, **named}


def _distinct(found: Iterable[tuple[Path, Run]]) -> list[str]:
    """A unique name for each run: its own, else with its machine's before it, else its folder."""
    candidates = [[run.name, f"{run.machine.name}/{run.name}", os.fspath(folder)] for folder, run in found]
    times = Counter(name for options in candidates for name in set(options))
    return [next((name for name in options if times[name] == 1), options[-1]) for options in candidates]


def _sound(value: Any) -> Any:
    """``value`` with each lone surrogate in its texts as an escape, since Arrow refuses lone surrogates."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, tuple):
        return tuple(map(_sound, value))
    if isinstance(value, dict):
        return {_sound(key): _sound(one) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _sound(getattr(value, field.name)) for field in fields(value)})
    return value


def _warn(error: BadInput) -> None:
    warnings.warn(f"left out: {error}", UserWarning, stacklevel=3)
