"""``loopmark run``: measure loops, and write a report."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli.batch import SEARCH_SECONDS, refuse_what_a_search_has_no_use_for, search_batch
from loopmark.bench.cli.options import (
    BatchSizeOption,
    DeterministicOption,
    DeviceOption,
    LimitOption,
    LoopsOption,
    QuickOption,
    SizeOption,
    SummaryJsonOption,
    ThreadsOption,
    WorkloadsOption,
    names,
)
from loopmark.bench.cli.report import show_summary
from loopmark.bench.cli.status import INTERRUPTED, NOT_MEASURED


def run(
    workload: WorkloadsOption = None,
    loop: LoopsOption = None,
    device: DeviceOption = None,
    size: SizeOption = None,
    batch_size: BatchSizeOption = None,
    budget: Annotated[
        float | None, typer.Option(help="Seconds of sampling per case; default: 4 on a CPU, 3 on a GPU.")
    ] = None,
    launches: Annotated[int | None, typer.Option(help="Processes per case; default: 5 on a CPU, 3 on a GPU.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, batches and the order of turns.")] = 0,
    threads: ThreadsOption = None,
    limit: LimitOption = 300.0,
    out: Annotated[Path, typer.Option(help="The folder that gets <machine>/<run>/.")] = Path("results"),
    training: Annotated[
        bool, typer.Option("--train/--no-train", help="Also compare every loop with eager and train it to its target.")
    ] = True,
    seeds: Annotated[
        int | None, typer.Option(help="How many seeds each loop trains from; default: 1 on a CPU, none on a GPU.")
    ] = None,
    keep_throttled: Annotated[
        bool, typer.Option("--keep-throttled", help="Do not measure again what a GPU did with its clock held down.")
    ] = False,
    deterministic: DeterministicOption = False,
    quick: QuickOption = False,
    find_batch: Annotated[
        bool,
        typer.Option(
            "--find-batch",
            help="Search instead: which batch is the largest that fits, and which the fastest? --budget: 60 s a case.",
        ),
    ] = False,
    as_json: SummaryJsonOption = False,
) -> None:
    """Measure loops, each in processes of its own, see whether they train what eager trains, and write a report.

    Every run measures eager as well, twice: as the baseline, and again for the run's noise floor.
    Exit status: 0, or 1 when a case failed or timed out, 2 for bad input, 130 when interrupted.
    """
    if find_batch:
        refuse_what_a_search_has_no_use_for(launches, seeds)
        budget = SEARCH_SECONDS if budget is None else budget
    from loopmark.bench.progress import RunProgress, announce_torch, stderr_console

    console = stderr_console()
    announce_torch(console, quiet=as_json)
    from loopmark.bench.measure.plan import PlanOptions, ceiling_seconds, make_plan, terms_within_a_run

    plan = make_plan(
        PlanOptions(
            command=["loopmark", *sys.argv[1:]],
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
    )
    if find_batch:
        search_batch(plan, out, as_json, console)
        return
    terms = terms_within_a_run(seeds, quick=quick, device=plan.device)
    from loopmark.bench.measure.launcher import apart
    from loopmark.bench.measure.machine import describe_machine
    from loopmark.bench.measure.whole_run import measure_all
    from loopmark.bench.records.store import create_folder
    from loopmark.bench.report.draw import draw

    machine = apart(describe_machine, plan.device)
    # A polite `kill` is as good as Ctrl-C: processes end, and what was measured is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with RunProgress(console) as progress:
        found = measure_all(
            plan,
            terms if training else None,
            ceiling_seconds(quick=quick),
            machine,
            lambda started: create_folder(out, machine.name, started.isoformat()),
            progress,
            lambda forecast: console.print(forecast, style="dim", markup=False, highlight=False, soft_wrap=True),
        )
    summary = draw(found.folder, found.run, found.samples, found.trained, found.ceilings)
    show_summary(summary, found.folder, as_json, console)
    if found.interrupted:
        raise typer.Exit(INTERRUPTED)
    if found.failed:
        raise typer.Exit(NOT_MEASURED)
