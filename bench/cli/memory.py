"""``loopmark memory``: how much memory a step takes, in which phase and when."""

from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import CANNOT_RUN, Invocation, exit_by, print_json
from loopmark.bench.cli.options import RESULTS


def memory(
    loop: options.LoopArguments,
    workload: options.Workload = "resnet",
    device: options.Device = None,
    size: options.Size = None,
    batch_size: options.BatchSize = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    limit: Annotated[float, options.limit("a step")] = 300.0,
    out: Annotated[Path, options.out("<machine>/<memory>/")] = RESULTS,
    as_json: options.FoundJson = False,
) -> None:
    """Follow one step's memory through its phases, and draw it moment by moment. Nothing is timed.

    On CUDA it is what torch's allocator says; on a CPU, every tensor that is alive.
    Exit status: 0, or 1 when a loop failed or timed out, 2 for bad input, 4 when none of them can be looked at here.
    """
    invocation = Invocation(
        out,
        as_json,
        workloads=[workload],
        loops=loop,
        device=device,
        size=size,
        batch_size=batch_size,
        seed=seed,
        threads=threads,
        limit_seconds=limit,
    )
    from loopmark.bench.measure.inspection import profile_memory
    from loopmark.bench.records.files import write_record
    from loopmark.bench.records.footprint import MEMORY_FILE
    from loopmark.bench.report.step_profile import footprints_as_json, print_footprints, write_footprint_files

    with invocation.pool() as (folder, pool, progress):
        found = profile_memory(invocation.plan, loop, invocation.machine, invocation.started, pool, progress.hint)
    write_record(folder / MEMORY_FILE, found, indent=None)
    write_footprint_files(folder, found.cases)
    if as_json:
        print_json({"folder": str(folder), **footprints_as_json(found.cases)})
    else:
        print_footprints(found.cases)
        invocation.console.note(f"Kept in {folder}")
    exit_by(case.status for case in found.cases)
    if all(case.status == "skipped" for case in found.cases):
        raise typer.Exit(CANNOT_RUN)
