"""``loopmark run``: measure loops, and write a report."""

from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import NOT_MEASURED, Invocation, exit_by
from loopmark.bench.cli.options import RESULTS, names
from loopmark.bench.cli.report import show_summary


def run(
    workload: options.Workloads = None,
    loop: options.Loops = None,
    device: options.Device = None,
    size: options.Size = None,
    batch_size: options.BatchSize = None,
    budget: Annotated[
        float | None, typer.Option(help="Seconds of sampling per case; default: 4 on a CPU, 3 on a GPU.")
    ] = None,
    launches: Annotated[int | None, typer.Option(help="Processes per case; default: 5 on a CPU, 3 on a GPU.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, batches and the order of turns.")] = 0,
    threads: options.Threads = None,
    limit: options.Limit = 300.0,
    out: Annotated[Path, options.out("<machine>/<run>/")] = RESULTS,
    training: Annotated[
        bool, typer.Option("--train/--no-train", help="Also compare every loop with eager and train it to its target.")
    ] = True,
    seeds: Annotated[
        int | None, typer.Option(help="How many seeds each loop trains from; default: 1 on a CPU, none on a GPU.")
    ] = None,
    keep_throttled: Annotated[
        bool, typer.Option("--keep-throttled", help="Do not measure again what a GPU did with its clock held down.")
    ] = False,
    deterministic: options.Deterministic = False,
    quick: options.Quick = False,
    as_json: options.SummaryJson = False,
) -> None:
    """Measure loops, each in processes of its own, see whether they train what eager trains, and write a report.

    Every run measures eager as well, twice: as the baseline, and again for the run's noise floor.
    Exit status: 0, or 1 when a case failed or timed out, 2 for bad input, 130 when interrupted.
    """
    invocation = Invocation(
        out,
        as_json,
        workloads=names(workload),
        loops=names(loop),
        device=device,
        size=size,
        batch_size=batch_size,
        budget_seconds=budget,
        launches=launches,
        seed=seed,
        threads=threads,
        limit_seconds=limit,
        quick=quick,
        keep_throttled=keep_throttled,
        deterministic=deterministic,
    )
    from loopmark.bench.measure.plan import ceiling_seconds, terms_within_a_run
    from loopmark.bench.measure.whole_run import measure_all
    from loopmark.bench.progress import RunProgress
    from loopmark.bench.report.draw import draw

    plan, console = invocation.plan, invocation.console
    terms = terms_within_a_run(seeds, quick=quick, device=plan.device)
    with RunProgress(console) as progress:
        found = measure_all(
            plan,
            terms if training else None,
            ceiling_seconds(quick=quick),
            invocation.machine,
            lambda _: invocation.new_folder(),
            progress,
            lambda forecast: console.note(forecast, "dim"),
        )
    summary = draw(found.folder, found.run, found.samples, found.trained, found.ceilings)
    show_summary(summary, found.folder, as_json, console)
    exit_by((), interrupted=found.interrupted)
    if found.failed:
        raise typer.Exit(NOT_MEASURED)
