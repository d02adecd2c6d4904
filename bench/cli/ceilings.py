"""``loopmark ceilings``: what this device can do, measured and not looked up."""

import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopmark.bench.cli.options import DeviceOption, LimitOption, ThreadsOption
from loopmark.bench.cli.status import NOT_MEASURED
from loopmark.bench.cli.tell import refuse_unwritable, refuse_unwritable_folder
from loopmark.bench.errors import BadInput

if TYPE_CHECKING:
    from loopmark.bench.records.ceilings import Ceilings
    from loopmark.bench.records.machine import Machine
    from loopmark.bench.records.run import Plan

MOST_SECONDS = 3600.0


def ceilings(
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    budget: Annotated[float, typer.Option(help="Seconds of measuring, over everything that is measured.")] = 15.0,
    seed: Annotated[int, typer.Option(help="Of the data, and of the order of the samples.")] = 0,
    limit: LimitOption = 300.0,
    out: Annotated[Path, typer.Option(help="The folder that gets <machine>/ceilings-….json.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the ceilings as JSON, and only that.")] = False,
) -> None:
    """Measure what this device can do: matrix products, copies, launches, and transfers from and to the host.

    Nothing comes from a datasheet; what cannot be measured here is left out, with the reason.
    Exit status: 0, or 1 where nothing could be measured, 2 for bad input, 130 when interrupted.
    """
    from loopmark.bench.progress import stderr_console

    refuse_unwritable_folder(out)
    if not 0 < budget <= MOST_SECONDS:
        raise BadInput(f"--budget {budget:g} makes no sense; give seconds, more than 0 and at most {MOST_SECONDS:g}")
    console = stderr_console()
    from loopmark.bench.measure.launcher import apart
    from loopmark.bench.measure.machine import describe_machine
    from loopmark.bench.measure.plan import PlanOptions, make_plan
    from loopmark.bench.measure.pool import CaseEnded
    from loopmark.bench.records.ceilings import ceilings_path
    from loopmark.bench.records.files import write_record
    from loopmark.bench.records.store import remove_if_empty
    from loopmark.bench.report.ceilings import as_json as to_json
    from loopmark.bench.report.ceilings import print_ceilings
    from loopmark.bench.report.text import plain

    plan = make_plan(
        PlanOptions(
            command=["loopmark", *sys.argv[1:]],
            device=device,
            budget_seconds=budget,
            seed=seed,
            threads=threads,
            limit_seconds=limit,
        )
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite `kill` ends the process that measures too
    machine = apart(describe_machine, plan.device)
    path = ceilings_path(out / machine.name, plan.device, plan.threads)
    if not as_json and console.is_terminal:
        console.print(f"measuring for {budget:g} s …", style="dim", end="\r")
    try:
        _make_room(path)
        found = _measure(plan, machine)
        if found.ceilings:
            write_record(path, found)
    except CaseEnded as end:
        console.print(plain(f"loopmark: {plan.device} {end.status}: {end}"), markup=False, soft_wrap=True)
        raise typer.Exit(NOT_MEASURED) from None
    finally:
        remove_if_empty(path.parent)
    if as_json:
        print(to_json(found))
    else:
        print_ceilings(found)
    if not found.ceilings:
        raise typer.Exit(NOT_MEASURED)
    console.print(f"Kept in {path}", markup=False, highlight=False, soft_wrap=True)


def _make_room(path: Path) -> None:
    """The folder of a machine's ceilings. Raises BadInput where ``path`` could not be written in the end."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot write to {path.parent}: {error.strerror}; choose another --out") from None
    refuse_unwritable(path)


def _measure(plan: "Plan", machine: "Machine") -> "Ceilings":
    """By a process like those of a run, with its threads and on its cores; the parent never touches the device."""
    from loopmark.bench.measure.ceilings.survey import measure_ceilings
    from loopmark.bench.measure.pool import worker_pool

    with tempfile.TemporaryDirectory(prefix="loopmark-ceilings-") as folder, worker_pool(plan, Path(folder)) as pool:
        return measure_ceilings(pool, plan, machine, plan.budget_seconds)
