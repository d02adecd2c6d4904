"""The run folder of a watched script."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from loopmark.bench.measure.machine import available_cores, describe_environment, describe_machine
from loopmark.bench.measure.watching.watched import WatchedProcess, run_of
from loopmark.bench.records import store
from loopmark.bench.records.run import Plan, Run, Watched
from loopmark.bench.records.samples import Samples
from loopmark.bench.records.watching import write_steps

UNKNOWN = "unknown"


def keep(
    processes: list[WatchedProcess],
    command: str,
    out: Path,
    started: datetime,
    seconds: float,
    *,
    exit_status: int | None = None,
    asked_steps: int | None = None,
) -> tuple[Path, Run, Samples]:
    """Write the run of the processes that took steps to a new folder under ``out``."""
    facts = processes[0].facts
    plan = Plan(
        command=command, workloads=(processes[0].name,), loops=(), device=facts["device"], size=UNKNOWN,
        batch_size=None, budget_seconds=0.0, launches=1, seed=0, threads=facts["threads"], block_seconds=0.0,
        warmup_ceiling_seconds=0.0, limit_seconds=0.0,
    )  # fmt: skip
    machine = describe_machine(facts["device"])
    environment = describe_environment(facts["threads"], available_cores())
    watched = Watched(exit_status, (), asked_steps)
    run, samples, steps = run_of(processes, plan, machine, environment, started, seconds, watched)
    folder = store.create_folder(out, machine.name, started.isoformat())
    run = replace(run, name=folder.name)
    write_steps(folder, steps)
    store.write(folder, run, samples)
    return folder, run, samples
