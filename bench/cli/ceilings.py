"""``loopmark ceilings``: the limits of this device, measured and not looked up."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import FAILED, Conditions, Invocation, refuse_unwritable
from loopmark.bench.cli.options import RESULTS
from loopmark.bench.errors import BadInput
from loopmark.bench.records.ceilings import ceilings_path
from loopmark.bench.records.files import write_record, writing_to
from loopmark.bench.report.text import plain

MOST_SECONDS = 3600.0


def ceilings(
    device: options.Device = None,
    threads: options.Threads = None,
    budget: Annotated[float, typer.Option(help="Measure for this number of seconds in all.")] = 15.0,
    seed: Annotated[int, typer.Option(help="Seed the data and the order of samples.")] = 0,
    limit: options.Limit = 300.0,
    out: Annotated[Path, options.out("<machine>/ceilings-….json")] = RESULTS,
    as_json: Annotated[bool, options.json_of("the ceilings")] = False,
) -> None:
    """Measure the limits of this device. It times matrix products, copies, launches, and transfers with the host.
    Nothing comes from a datasheet. Limits that cannot be measured here are left out, with the reason.

    Exit status: 0, or 1 if nothing could be measured, 2 for bad input, 130 when interrupted.
    """
    if not 0 < budget <= MOST_SECONDS:
        raise BadInput(f"--budget {budget:g} makes no sense; give seconds, more than 0 and at most {MOST_SECONDS:g}")
    conditions = Conditions(device, seed=seed, threads=threads, limit_seconds=limit)
    invocation = Invocation(out, as_json, conditions, budget_seconds=budget)
    from loopmark.bench.measure.ceilings.survey import measure_ceilings
    from loopmark.bench.measure.pool import CaseEnded, worker_pool
    from loopmark.bench.records.store import ignored_folder, remove_if_empty
    from loopmark.bench.report.ceilings import ceilings_as_json, print_ceilings

    plan, machine, console = invocation.plan, invocation.machine, invocation.console
    path = ceilings_path(out / machine.name, plan.device, plan.threads)
    if not as_json and console.is_terminal:
        console.print(f"measuring for {budget:g} s …", style="dim", end="\r")
    with writing_to(path.parent):
        ignored_folder(out, machine.name)
    try:
        refuse_unwritable(path)
        with (
            tempfile.TemporaryDirectory(prefix="loopmark-ceilings-") as folder,
            worker_pool(plan, Path(folder)) as pool,
        ):
            found = measure_ceilings(pool, plan, machine, budget)
        if found.ceilings:
            write_record(path, found)
    except CaseEnded as end:
        console.note(plain(f"loopmark: {plan.device} {end.status}: {end}"))
        raise typer.Exit(FAILED) from None
    finally:
        remove_if_empty(path.parent)
    if as_json:
        print(ceilings_as_json(found))
    else:
        print_ceilings(found)
    if not found.ceilings:
        raise typer.Exit(FAILED)
    console.note(f"Kept in {path}")
