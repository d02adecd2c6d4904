"""``loopmark trace``: where a step's time goes, kernel by kernel."""

from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import CANNOT_RUN, NOT_MEASURED, Invocation, print_json
from loopmark.bench.cli.options import RESULTS
from loopmark.bench.errors import BadInput


def trace(
    loop: Annotated[str, typer.Argument(metavar="LOOP", help="Techniques joined by +, or your own: file.py:step.")],
    workload: options.Workload = "resnet",
    device: options.Device = None,
    size: options.Size = None,
    batch_size: options.BatchSize = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    limit: options.Limit = 300.0,
    steps: Annotated[int, typer.Option(help="How many steps are profiled.")] = 3,
    out: Annotated[Path | None, options.out("the trace; default: a new one in results/<machine>/traces")] = None,
    as_json: options.FoundJson = False,
) -> None:
    """Profile a few steps of a loop once it is warm, and show what each phase's time goes to, kernel by kernel.

    Writes a trace for Perfetto, with the phases as ranges, and kernels.csv. Profiled steps are slower than measured
    ones, and never mix with them. Exit status: 0, or 1 when the loop failed or timed out, 2 bad input, 4 it cannot
    be traced here.
    """
    from loopmark.bench.records.trace import create_trace_folder, refuse_run_folder, write_trace

    if out is not None:
        refuse_run_folder(out)
    loop = loop.strip()
    invocation = Invocation(
        out or RESULTS,
        as_json,
        workloads=[workload],
        loops=[loop],
        device=device,
        size=size,
        batch_size=batch_size,
        seed=seed,
        threads=threads,
        limit_seconds=limit,
    )
    from loopmark.bench.measure.inspection import MOST_STEPS
    from loopmark.bench.measure.inspection import trace as trace_case
    from loopmark.bench.progress import RunProgress
    from loopmark.bench.report.step_profile import kernels_as_csv, print_trace, trace_as_json
    from loopmark.bench.report.text import slugs

    if not 1 <= steps <= MOST_STEPS:
        raise BadInput(f"--steps {steps} makes no sense; give 1 to {MOST_STEPS}")
    with RunProgress(invocation.console) as progress:
        found, content = trace_case(invocation.plan, loop, steps, progress.hint)
    folder: Path | None = None
    if found.profile is not None:
        label = f"{found.workload}-{found.loop}"
        machine, started = invocation.machine.name if out is None else "", invocation.started.isoformat()
        folder = out or create_trace_folder(RESULTS, machine, started, slugs([label])[label])
        write_trace(folder, content, kernels_as_csv(found.profile))
    if as_json:
        print_json(trace_as_json(found, folder))
    else:
        print_trace(found, folder)
    if found.profile is None:
        raise typer.Exit(CANNOT_RUN if found.status == "skipped" else NOT_MEASURED)
