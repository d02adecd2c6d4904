"""``loopmark run``: measure loops, and write a report."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.batch import SEARCH_SECONDS, refuse_what_a_search_has_no_use_for, search_batch
from bench.cli.options import (
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
from bench.cli.report import show_summary
from bench.cli.status import INTERRUPTED, NOT_MEASURED


def run(
    workload: WorkloadsOption = None,
    loop: LoopsOption = None,
    device: DeviceOption = None,
    size: SizeOption = None,
    batch_size: BatchSizeOption = None,
    budget: Annotated[float | None, typer.Option(help="Seconds of sampling per case; default: 4.")] = None,
    launches: Annotated[int | None, typer.Option(help="Fresh processes per case; default: 5.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, batches and the order of turns.")] = 0,
    threads: ThreadsOption = None,
    limit: LimitOption = 300.0,
    out: Annotated[Path, typer.Option(help="The folder that gets <machine>/<run>/.")] = Path("results"),
    training: Annotated[
        bool, typer.Option("--train/--no-train", help="Also compare every loop with eager and train it to its target.")
    ] = True,
    seeds: Annotated[int, typer.Option(help="How many seeds each loop trains from.")] = 1,
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
    from datetime import UTC, datetime

    from bench.progress import RunProgress, stderr_console

    console = stderr_console()
    if not as_json and console.is_terminal:
        console.print("importing torch …", style="dim", end="\r")
    from bench.measure.plan import Wish, ceiling_seconds, make_plan, terms_within_a_run

    plan = make_plan(
        Wish(
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
    terms = terms_within_a_run(seeds, quick=quick)
    from bench.measure.ceilings.crew import measure_ceilings
    from bench.measure.conduct import Conductor
    from bench.measure.crew import crew_of
    from bench.measure.launcher import apart
    from bench.measure.machine import describe_machine
    from bench.measure.process import CaseEnded
    from bench.measure.training.trainer import Trainer, endings_of
    from bench.records.ceilings import CEILINGS_FILE, write_ceilings
    from bench.records.store import create_folder
    from bench.report.draw import draw
    from bench.report.text import plain

    started, machine = datetime.now(UTC), apart(describe_machine, plan.device)
    # A polite `kill` is as good as Ctrl-C: processes end, and what was measured is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with RunProgress(console) as progress:
        conductor = Conductor(plan, machine, started, progress)
        folder = create_folder(out, machine.name, started.isoformat())
        with crew_of(plan, folder) as crew:
            measured, samples = conductor.conduct(crew)
            trained, ceilings, cut_short = None, None, measured.interrupted
            if not cut_short:
                progress.tell("what the device can do", 1.0, budget := ceiling_seconds(quick=quick))
                try:
                    ceilings = measure_ceilings(crew, plan, machine, budget)
                    write_ceilings(folder / CEILINGS_FILE, ceilings)
                except CaseEnded as end:  # what was timed stands
                    console.print(f"its ceilings are not known: {plain(end.reason)}", markup=False, soft_wrap=True)
                except KeyboardInterrupt:
                    cut_short = True
            if training and not cut_short:
                try:
                    trained = Trainer(plan, terms, machine, progress, endings_of(measured)).conduct(crew)
                except KeyboardInterrupt:  # before the first comparison: what was timed is still shown
                    cut_short = True
    show_summary(draw(folder, measured, samples, trained, ceilings), folder, as_json, console)
    if cut_short or (trained and trained[0].interrupted):
        raise typer.Exit(INTERRUPTED)
    statuses = {case.status for case in measured.cases}
    if trained:
        statuses |= {one.status for several in (trained[0].proofs, trained[0].trials) for one in several}
    if statuses & {"failed", "timed_out"}:
        raise typer.Exit(NOT_MEASURED)
