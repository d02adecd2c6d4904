"""``loopmark memory``: how much memory a step takes, in which phase and when."""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli.options import (
    BatchSizeOption,
    DeviceOption,
    FoundJsonOption,
    LoopArguments,
    SeedOption,
    SizeOption,
    ThreadsOption,
    WorkloadOption,
)
from loopmark.bench.cli.status import CANNOT_RUN, NOT_MEASURED


def memory(
    loop: LoopArguments,
    workload: WorkloadOption = "resnet",
    device: DeviceOption = None,
    size: SizeOption = None,
    batch_size: BatchSizeOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    limit: Annotated[float, typer.Option(help="Seconds after which a step counts as hung.")] = 300.0,
    out: Annotated[Path, typer.Option(help="The folder that gets <machine>/<memory>/.")] = Path("results"),
    as_json: FoundJsonOption = False,
) -> None:
    """Follow one step's memory through its phases, and draw it moment by moment. Nothing is timed.

    On CUDA it is what torch's allocator says; on a CPU, every tensor that is alive.
    Exit status: 0, or 1 when a loop failed or timed out, 2 for bad input, 4 when none of them can be looked at here.
    """
    from datetime import UTC, datetime

    from loopmark.bench.cli.tell import refuse_unwritable_folder
    from loopmark.bench.progress import RunProgress, announce_torch, stderr_console

    refuse_unwritable_folder(out)
    console = stderr_console()
    announce_torch(console, quiet=as_json)
    from loopmark.bench.measure.plan import PlanOptions, make_plan

    plan = make_plan(
        PlanOptions(
            command=["loopmark", *sys.argv[1:]],
            workloads=[workload],
            loops=loop,
            device=device,
            size=size,
            batch_size=batch_size,
            seed=seed,
            threads=threads,
            limit_seconds=limit,
        )
    )
    from loopmark.bench.measure.inspection import profile_memory
    from loopmark.bench.measure.launcher import apart
    from loopmark.bench.measure.machine import describe_machine
    from loopmark.bench.measure.pool import worker_pool
    from loopmark.bench.records.files import write_record
    from loopmark.bench.records.footprint import MEMORY_FILE
    from loopmark.bench.records.store import create_folder, remove_if_empty
    from loopmark.bench.report.footprint.files import as_json as to_json
    from loopmark.bench.report.footprint.files import write_files
    from loopmark.bench.report.footprint.table import print_footprints

    started, machine = datetime.now(UTC), apart(describe_machine, plan.device)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite `kill` ends the processes too
    folder = create_folder(out, machine.name, started.isoformat())
    try:
        with RunProgress(console) as progress, worker_pool(plan, folder) as pool:
            found = profile_memory(plan, loop, machine, started, pool, progress.hint)
    except BaseException:
        remove_if_empty(folder)
        raise
    cases = found.cases
    write_record(folder / MEMORY_FILE, found, indent=None)
    write_files(folder, cases)
    if as_json:
        print(json.dumps({"folder": str(folder), **to_json(cases)}, indent=2, allow_nan=False))
    else:
        print_footprints(cases)
        console.print(f"Kept in {folder}", markup=False, highlight=False, soft_wrap=True)
    if {case.status for case in cases} & {"failed", "timed_out"}:
        raise typer.Exit(NOT_MEASURED)
    if all(case.status == "skipped" for case in cases):
        raise typer.Exit(CANNOT_RUN)
