"""A run imported from pytest-benchmark's files. Each file is a launch: one process, with its rounds as blocks."""

import contextlib
import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

from loopmark import __version__
from loopmark.bench.errors import BadInput
from loopmark.bench.records.files import LEAST_SECONDS, in_utc, line
from loopmark.bench.records.machine import Environment, Gpu, Machine, facts_of
from loopmark.bench.records.pytest_benchmark import MAKE_ONE, Benchmark, ImportedRounds, MachineInfo, Stored, fitting
from loopmark.bench.records.run import Case, Launch, Plan, Run
from loopmark.bench.records.samples import COLUMNS, Samples, typed
from loopmark.bench.records.store import RUN_FILE, folder_name, read, read_run

T = TypeVar("T")

TOOL = "pytest-benchmark"
UNKNOWN = "unknown"
IMPORTED = "imported from pytest-benchmark: start-up, warm-up, memory, losses and disturbances are not known"
IN_SEQUENCE = "the benchmarks ran one after the other and not in turns, so their ratios include the machine's drift"
UNPAIRED = "the pairing of rounds is not known, so each ratio is that of two launches' medians"
NO_FLOOR = "no noise floor was measured, so nothing is called faster or slower"

Key = tuple[str, str, bool]  # workload, loop, and True for the baseline's repetition


def run_of(
    files: Sequence[Stored], baseline: str | None, command: str, known: Sequence[Machine] = ()
) -> tuple[Run, Samples]:
    """The run whose launches are ``files``, still without a name.

    A row written by Loopmark may hold several launches. The ``baseline`` is given by its name or full name; None takes
    the one that Loopmark wrote. For ``known`` machines see ``machine_of``. Raises BadInput if the files do not belong
    together, there is no such baseline, or no benchmark took any time.
    """
    first = files[0]
    for number, file in enumerate(files):
        for name, times in Counter(row.fullname for row in file.benchmarks).most_common(1):
            if times > 1:
                raise BadInput(f"{file.path} has {times} benchmarks called {line(name)}; give each its own name")
        if copied := next((other for other in files[:number] if other.benchmarks == file.benchmarks), None):
            raise BadInput(f"{file.path} has the same rounds as {copied.path}; give each launch once")
    for file in files[1:]:
        both = f"{file.path} and {first.path}"
        if file.machine != first.machine:
            raise BadInput(f"{both} differ in machine or software; import each separately")
        if other := sorted(set(first.steps) ^ set(file.steps)):
            reason = f"only one of them has {line(other[0])}"
            raise BadInput(f"{both} are not launches of the same benchmarks: {reason}; import each separately")
    named = list(first.steps.values())
    if not named:
        raise BadInput(f"{first.path} holds only phases, without a whole step; import a file with both")
    keys = _keys(named)
    timeless = {full for file in files for full, row in file.steps.items() if (row.seconds < LEAST_SECONDS).any()}
    kept = [row for row in named if row.fullname not in timeless]
    if not kept:
        raise BadInput(f"every benchmark of {first.path} has a round that took no time; make the rounds longer")
    warnings = [
        IMPORTED,
        UNPAIRED if all(row.told.workload for row in kept) else IN_SEQUENCE,
        *([] if any(keys[row.fullname][2] for row in kept) else [NO_FLOOR]),
        *(f"{line(name)} is left out: its clock saw a round take no time" for name in sorted(timeless)),
    ]
    alone = {phase.parent for file in files for phase in file.phases} - first.steps.keys()
    warnings += [f"the phases of {line(parent)} are left out: there is no whole step of it" for parent in sorted(alone)]
    rounds, cases = ImportedRounds(), []
    for place, row in enumerate(kept):
        launches: list[Launch] = []
        phases = _phases(files, row, warnings)
        for file, parts in zip(files, phases, strict=True):
            launches += rounds.add(place, len(launches), file.steps[row.fullname], parts)
        work = row.told.batch_size, row.told.parameters, row.told.data_sha256
        names = tuple(str(phase.told.phase) for phase in phases[0])
        cases.append(Case(*keys[row.fullname], "ok", None, *work, names, memory_kind=None, launches=tuple(launches)))
    if max(len(case.launches) for case in cases) == 1:
        warnings.append("one file is one launch, which gives no interval: import several files of the same benchmarks")
    base = named[0].told.baseline or "eager" if baseline is None else _loop_named(baseline, keys)
    machine = machine_of(first.machine, known)
    if machine != machine_of(first.machine, ()):
        warnings.append(f"assigned to {machine.name}, the only known machine with all the facts in the files")
    return _run(files, cases, warnings, command, machine, base), rounds.samples()


def _phases(files: Sequence[Stored], row: Benchmark, warnings: list[str]) -> list[list[Benchmark]]:
    """The phases of ``row`` in each file; empty for all, with a warning, if they differ between files."""
    found = [[phase for phase in file.phases if phase.parent == row.fullname] for file in files]
    if not any(found):
        return found
    names = {tuple(phase.told.phase for phase in parts) for parts in found}
    pairs = zip(files, found, strict=True)
    if len(names) == 1 and all(fitting(file.steps[row.fullname], parts) for file, parts in pairs):
        return found
    warnings.append(f"the phases of {line(row.fullname)} are left out: their rounds do not match")
    return [[] for _ in files]


def _keys(rows: Sequence[Benchmark]) -> dict[str, Key]:
    """Each benchmark's key, by full name; the full name is also the loop's if the short name is not unique."""
    named = {r.fullname: (r.workload, r.told.loop or r.name, r.told.repeat == "yes") for r in rows}
    times = Counter(named.values())
    return {full: key if times[key] == 1 else (key[0], full, key[2]) for full, key in named.items()}


def _loop_named(baseline: str, keys: dict[str, Key]) -> str:
    """The loop whose name, or whose benchmark's full name, is ``baseline``."""
    for full, (_, loop, _) in keys.items():
        if baseline in (full, loop):
            return loop
    known = list(dict.fromkeys(key[1] for key in keys.values()))
    close = difflib.get_close_matches(baseline, known, n=1)
    hint = f"did you mean '{line(close[0])}'?" if close else f"there are {line(', '.join(known))}"
    raise BadInput(f"no benchmark named '{line(baseline)}'; {hint}")


def _run(
    files: Sequence[Stored], cases: list[Case], warnings: list[str], command: str, machine: Machine, baseline: str
) -> Run:
    info, told = files[0].machine, files[0].benchmarks[0].told
    seconds = sum(sum(row.stats.data or ()) * row.stats.iterations for f in files for row in f.steps.values())
    plan = Plan(
        command=command,
        workloads=tuple(dict.fromkeys(case.workload for case in cases)),
        loops=tuple(dict.fromkeys(case.loop for case in cases)),
        device=told.device or info.loopmark.device or "cpu",  # pytest-benchmark's own clock is the host's
        size=told.size or info.loopmark.size or UNKNOWN,
        batch_size=None, budget_seconds=0.0, launches=max(len(case.launches) for case in cases), seed=0,
        threads=told.threads or info.loopmark.threads or 0, block_seconds=0.0, warmup_ceiling_seconds=0.0,
        limit_seconds=0.0, baseline=baseline,
    )  # fmt: skip
    started = min(_started(file) for file in files).isoformat(timespec="seconds")
    environment = _environment(info, told.threads)
    return Run("", started, seconds, False, plan, machine, environment, tuple(cases), tuple(warnings), TOOL)


def _started(file: Stored) -> datetime:
    if (started := in_utc(file.datetime)) is None:
        raise BadInput(f"{file.path} has no valid datetime: {line(file.datetime)!r:.60}; {MAKE_ONE}")
    return started


def _environment(info: MachineInfo, threads: int | None) -> Environment:
    facts = info.loopmark
    return Environment(
        loopmark=__version__, revision=None, python=info.python_version or UNKNOWN, torch=facts.torch, cuda=facts.cuda,
        cudnn=None, driver=facts.driver, packages={}, variables={}, threads=threads or facts.threads, cores=(),
        cpu_capability=None, compiler=None, huge_pages=None, governor=None,
    )  # fmt: skip


def machines_in(root: Path) -> list[Machine]:
    """Every machine under ``root`` with a run measured by Loopmark, as described in its newest run."""
    machines: list[Machine] = []
    for folder in sorted(root.glob("*")):
        newest_first = sorted(folder.glob(f"*/{RUN_FILE}"), reverse=True)
        own = (run.machine for _, run in _readable(newest_first, read_run) if run.imported_from is None)
        machines += islice(own, 1)
    return machines


def kept_before(root: Path, run: Run, samples: Samples) -> Path | None:
    """The folder under ``root`` with the same run, imported before; None if there is none."""
    files = sorted((root / run.machine.name).glob(f"{folder_name(run.started)}*/{RUN_FILE}"))
    for folder, (kept, rows) in _readable(files, read):
        # The command may differ, since the files may have been given by other paths.
        same = replace(kept, name=run.name, plan=replace(kept.plan, command=run.plan.command)) == run
        tables = ((columns, getattr(rows, name), getattr(samples, name)) for name, columns in COLUMNS.items())
        if same and all(typed(columns, before).equals(now) for columns, before, now in tables):
            return folder
    return None


def _readable(files: Iterable[Path], read: Callable[[Path], T]) -> Iterator[tuple[Path, T]]:
    """The folder of each file with the result of ``read``, without damaged ones."""
    for file in files:
        with contextlib.suppress(BadInput):
            yield file.parent, read(file.parent)


def machine_of(info: MachineInfo, known: Iterable[Machine]) -> Machine:
    """The only ``known`` machine that matches all facts of a file (few, without Loopmark), or else these facts."""
    own = Machine(
        cpu=info.cpu.brand_raw or UNKNOWN,
        physical_cores=info.loopmark.physical_cores,
        logical_cores=info.cpu.count,
        memory_bytes=info.loopmark.memory_bytes,
        architecture=info.machine or UNKNOWN,
        operating_system=" ".join(filter(None, (info.system, info.release))) or UNKNOWN,
        gpus=tuple(Gpu(name, None, None, None) for name in info.loopmark.gpus or ()),
    )
    told = {name: value for name, value in _hardware(own).items() if value not in (None, UNKNOWN)}
    if info.loopmark.gpus is None:  # unknown, since nothing looked for GPUs
        del told["GPUs"]
    alike = {machine.fingerprint: machine for machine in known if told.items() <= _hardware(machine).items()}
    return next(iter(alike.values())) if len(alike) == 1 and {"CPU", "logical cores"} <= told.keys() else own


def _hardware(machine: Machine) -> dict[str, object]:
    facts = {fact.label: fact.text(value) for fact, value in facts_of(machine) if fact.decides}
    return {**facts, "CPU": machine.cpu.strip(), "GPUs": tuple(sorted(gpu.name for gpu in machine.gpus))}
