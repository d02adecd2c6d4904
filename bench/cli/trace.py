"""``loopmark trace``: where a step's time goes, kernel by kernel."""

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
    LimitOption,
    SeedOption,
    SizeOption,
    ThreadsOption,
    WorkloadOption,
)
from loopmark.bench.cli.status import CANNOT_RUN, NOT_MEASURED
from loopmark.bench.errors import BadInput

RESULTS = Path("results")


def trace(
    loop: Annotated[str, typer.Argument(metavar="LOOP", help="Techniques joined by +, or your own: file.py:step.")],
    workload: WorkloadOption = "resnet",
    device: DeviceOption = None,
    size: SizeOption = None,
    batch_size: BatchSizeOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    limit: LimitOption = 300.0,
    steps: Annotated[int, typer.Option(help="How many steps are profiled.")] = 3,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder that gets the trace; default: a new one in results/<machine>/traces."),
    ] = None,
    as_json: FoundJsonOption = False,
) -> None:
    """Profile a few steps of a loop once it is warm, and show what each phase's time goes to, kernel by kernel.

    Writes a trace for Perfetto, with the phases as ranges, and kernels.csv. Profiled steps are slower than measured
    ones, and never mix with them. Exit status: 0, or 1 when the loop failed or timed out, 2 bad input, 4 it cannot
    be traced here.
    """
    from datetime import UTC, datetime

    from loopmark.bench.cli.tell import refuse_unwritable_folder
    from loopmark.bench.progress import RunProgress, announce_torch, stderr_console
    from loopmark.bench.records.trace import create_trace_folder, refuse_run_folder, write_trace

    refuse_unwritable_folder(out or RESULTS)
    if out is not None:
        refuse_run_folder(out)
    console = stderr_console()
    announce_torch(console, quiet=as_json)
    from loopmark.bench.measure.inspection import MOST_STEPS
    from loopmark.bench.measure.inspection import trace as trace_case
    from loopmark.bench.measure.launcher import apart
    from loopmark.bench.measure.machine import describe_machine
    from loopmark.bench.measure.plan import PlanOptions, make_plan
    from loopmark.bench.report.text import slugs
    from loopmark.bench.report.trace.files import as_csv
    from loopmark.bench.report.trace.files import as_json as to_json
    from loopmark.bench.report.trace.table import print_trace

    if not 1 <= steps <= MOST_STEPS:
        raise BadInput(f"--steps {steps} makes no sense; give 1 to {MOST_STEPS}")
    plan = make_plan(
        PlanOptions(
            command=["loopmark", *sys.argv[1:]],
            workloads=[workload],
            loops=[loop.strip()],
            device=device,
            size=size,
            batch_size=batch_size,
            seed=seed,
            threads=threads,
            limit_seconds=limit,
        )
    )
    started = datetime.now(UTC).isoformat()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite `kill` ends the process too
    with RunProgress(console) as progress:
        found, content = trace_case(plan, loop.strip(), steps, progress.hint)
    folder: Path | None = None
    if found.profile is not None:
        label = f"{found.workload}-{found.loop}"
        machine = apart(describe_machine, plan.device).name if out is None else ""
        folder = out or create_trace_folder(RESULTS, machine, started, slugs([label])[label])
        write_trace(folder, content, as_csv(found.profile))
    if as_json:
        print(json.dumps(to_json(found, folder), indent=2, allow_nan=False))
    else:
        print_trace(found, folder)
    if found.profile is None:
        raise typer.Exit(CANNOT_RUN if found.status == "skipped" else NOT_MEASURED)
