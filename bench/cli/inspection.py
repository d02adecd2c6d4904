"""``loopmark trace``, ``memory``, ``verify``: inspect the step of a loop. ``list``, ``doctor``: inspect the machine."""

from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import CANNOT_RUN, FAILED, Conditions, Invocation, exit_by, print_json
from loopmark.bench.cli.options import RESULTS
from loopmark.bench.cli.report import note_logs
from loopmark.bench.errors import BadInput
from loopmark.bench.progress import RunProgress
from loopmark.bench.records.files import write_record
from loopmark.bench.records.footprint import MEMORY_FILE


def trace(
    loop: Annotated[
        str, typer.Argument(metavar="LOOP", help="Trace this loop: techniques joined by +, or file.py:step.")
    ],
    workload: options.Workload = "resnet",
    device: options.Device = None,
    size: options.Size = None,
    batch_size: options.BatchSize = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    limit: options.Limit = 300.0,
    steps: Annotated[int, typer.Option(help="Profile this number of steps.")] = 3,
    out: Annotated[Path | None, options.out("the trace. Default: a new one in results/<machine>/traces")] = None,
    as_json: options.FoundJson = False,
) -> None:
    """Profile a few warm steps, and show each phase's kernels.
    Writes a trace for Perfetto, with the phases as ranges, and kernels.csv.
    Profiled steps are slower than measured ones, and are kept apart from them.

    Exit status: 0, or 1 if the loop failed or timed out, 2 for bad input, 4 if it cannot be traced here.
    """
    from loopmark.bench.records.store import create_folder
    from loopmark.bench.records.trace import refuse_run_folder, write_trace

    if out is not None:
        refuse_run_folder(out)
    loop = loop.strip()
    conditions = Conditions(device, size, batch_size, seed, threads, limit)
    invocation = Invocation(out or RESULTS, as_json, conditions, workloads=[workload], loops=[loop])
    from loopmark.bench.measure import inspection
    from loopmark.bench.report.step_profile import kernels_as_csv, print_trace, trace_as_json
    from loopmark.bench.report.text import slugs

    if not 1 <= steps <= inspection.MOST_STEPS:
        raise BadInput(f"--steps {steps} makes no sense; give 1 to {inspection.MOST_STEPS}")
    with RunProgress(invocation.console) as progress:
        found, content = inspection.trace(invocation.plan, loop, steps, progress.hint, progress.tick)
    folder: Path | None = None
    if found.profile is not None:
        label = f"{found.workload}-{found.loop}"
        folder = out or create_folder(
            RESULTS / invocation.machine.name, "traces", invocation.started.isoformat(), f"-{slugs([label])[label]}"
        )
        write_trace(folder, content, kernels_as_csv(found.profile))
    if as_json:
        print_json(trace_as_json(found, folder))
    else:
        print_trace(found, folder)
    exit_by([found.status])
    if found.status == "skipped":
        raise typer.Exit(CANNOT_RUN)


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
    """Plot one step's memory through its phases. Nothing is timed.
    On CUDA the figures are torch's allocator's; on a CPU they count every live tensor.

    Exit status: 0, or 1 if a loop failed or timed out, 2 for bad input, 4 if none of them can be inspected here.
    """
    conditions = Conditions(device, size, batch_size, seed, threads, limit)
    invocation = Invocation(out, as_json, conditions, workloads=[workload], loops=loop)
    from loopmark.bench.measure.inspection import profile_memory
    from loopmark.bench.report.step_profile import footprints_as_json, print_footprints, write_footprint_files

    with invocation.pool() as (folder, pool, progress):
        found = profile_memory(invocation.facts, loop, pool, progress.hint)
    write_record(folder / MEMORY_FILE, found, indent=None)
    write_footprint_files(folder, found.cases)
    if as_json:
        print_json({"folder": str(folder), **footprints_as_json(found.cases)})
    else:
        print_footprints(found.cases)
        invocation.console.note(f"Kept in {folder}")
        note_logs(folder, {case.status for case in found.cases}, invocation.console)
    exit_by(case.status for case in found.cases)
    if all(case.status == "skipped" for case in found.cases):
        raise typer.Exit(CANNOT_RUN)


def verify(
    loop: options.LoopArguments,
    workload: options.Workload = "resnet",
    device: options.Device = None,
    size: options.Size = None,
    batch_size: options.BatchSize = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    limit: Annotated[float, options.limit("a check")] = 300.0,
    as_json: options.FoundJson = False,
) -> None:
    """Check that a loop is a correct training step. Each fault is explained.
    The checks: gradients are zeroed, only the optimizer changes parameters, each phase does its own work, the loss
    falls, and more.

    Exit status: 0 all checks pass, 1 a check fails, 2 bad input, 4 it cannot be tried here, 130 when interrupted.
    """
    conditions = Conditions(device, size, batch_size, seed, threads, limit)
    invocation = Invocation(None, as_json, conditions, workloads=[workload], loops=loop)
    from loopmark.bench.measure import inspection
    from loopmark.bench.report.checklist import print_verification, verifications_as_json

    with RunProgress(invocation.console) as progress:
        specs = tuple(dict.fromkeys(spec.strip() for spec in loop))
        found = inspection.verify(invocation.plan, specs, progress.hint, progress.tick)
    if as_json:
        print_json(verifications_as_json(found))
    else:
        print_verification(found)
    if any(one.broken for one in found):
        raise typer.Exit(FAILED)
    if any(one.skipped for one in found):
        raise typer.Exit(CANNOT_RUN)


def list_() -> None:
    """List every workload, loop and technique that can run here. The others are listed with the reason."""
    from rich.console import Console
    from rich.table import Column, Table

    from loopmark.bench.measure import inventory

    device, console = inventory.default_device(), Console(highlight=False, markup=False)
    loops = f"Loops  (--loop NAME, techniques joined by +, or your own: file.py:step), on {device.type}"
    for title, items in (
        ("Workloads  (--workload NAME, or your own: file.py:make_task)", inventory.workloads()),
        (f"\n{loops}", inventory.loops(device)),
    ):
        console.print(title, style="bold")
        columns = Column(no_wrap=True), Column(no_wrap=True), Column()
        table = Table(*columns, box=None, show_header=False, padding=(0, 2, 0, 2))
        for item in items:
            table.add_row(item.name, "no" if item.lacks else "yes", item.lacks or item.summary)
        console.print(table)


def doctor(device: options.Device = None, as_json: options.FoundJson = False) -> None:
    """Report what makes this machine noisy or slow. Each finding has its reason and its remedy.
    Settings are only read: Loopmark never changes a clock, a limit or a mode.

    Exit status: 0 whatever is found, 2 for bad input.
    """
    from loopmark.bench.measure.doctor.examine import examine
    from loopmark.bench.measure.doctor.host import this_host
    from loopmark.bench.report.checklist import diagnosis_as_json, print_diagnosis

    found = examine(device, this_host())
    if as_json:
        print_json(diagnosis_as_json(found))
    else:
        print_diagnosis(found)
