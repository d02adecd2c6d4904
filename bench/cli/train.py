"""``loopmark train``: every loop beside eager, step by step, and trained to its target from several seeds."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli.options import (
    BatchSizeOption,
    DeterministicOption,
    DeviceOption,
    LoopsOption,
    QuickOption,
    SizeOption,
    SummaryJsonOption,
    ThreadsOption,
    WorkloadsOption,
    names,
)
from loopmark.bench.cli.report import show_training
from loopmark.bench.cli.status import INTERRUPTED, NOT_MEASURED


def train(
    workload: WorkloadsOption = None,
    loop: LoopsOption = None,
    device: DeviceOption = None,
    size: SizeOption = None,
    batch_size: BatchSizeOption = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds each loop trains from; default: 3.")] = None,
    seed: Annotated[int, typer.Option(help="The first of them.")] = 0,
    budget: Annotated[float | None, typer.Option(help="Most seconds of training for each seed; default: 30.")] = None,
    deterministic: DeterministicOption = False,
    threads: ThreadsOption = None,
    limit: Annotated[
        float, typer.Option(help="Seconds after which a start or a part of training counts as hung.")
    ] = 300.0,
    out: Annotated[Path, typer.Option(help="The folder that gets <machine>/<training>/.")] = Path("results"),
    quick: QuickOption = False,
    as_json: SummaryJsonOption = False,
) -> None:
    """Train every loop on real data until its quality no longer rises, and say whether it trains what eager trains.

    Each loop's first steps are compared with eager's from the same state. Eager is trained as well, whatever is asked
    for. Exit status: 0, or 1 when a loop failed or timed out, 2 for bad input, 130 when interrupted.
    """
    from datetime import UTC, datetime

    from loopmark.bench.cli.tell import refuse_unwritable_folder
    from loopmark.bench.progress import RunProgress, announce_torch, stderr_console

    refuse_unwritable_folder(out)
    console = stderr_console()
    announce_torch(console, quiet=as_json)
    from loopmark.bench.measure.plan import PlanOptions, make_plan, training_terms

    plan = make_plan(
        PlanOptions(
            command=["loopmark", *sys.argv[1:]],
            workloads=names(workload),
            loops=names(loop),
            device=device,
            size=size,
            batch_size=batch_size,
            seed=seed,
            threads=threads,
            limit_seconds=limit,
            quick=quick,
            deterministic=deterministic,
        )
    )
    terms = training_terms(seeds, budget, quick=quick)
    from loopmark.bench.measure.launcher import apart
    from loopmark.bench.measure.machine import describe_machine
    from loopmark.bench.measure.pool import worker_pool
    from loopmark.bench.measure.training.trainer import Trainer
    from loopmark.bench.records.store import create_folder, remove_if_empty
    from loopmark.bench.report.training.draw import draw_training

    started, machine = datetime.now(UTC), apart(describe_machine, plan.device)
    # A polite `kill` is as good as Ctrl-C: processes end, and what was learnt is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = create_folder(out, machine.name, started.isoformat())
    try:
        with RunProgress(console) as progress, worker_pool(plan, folder) as pool:
            training, samples = Trainer(plan, terms, machine, progress).run(pool)
    except BaseException:
        remove_if_empty(folder)
        raise
    show_training(draw_training(folder, training, samples), folder, as_json, console)
    if training.interrupted:
        raise typer.Exit(INTERRUPTED)
    statuses = {one.status for several in (training.proofs, training.trials) for one in several}
    if statuses & {"failed", "timed_out"}:
        raise typer.Exit(NOT_MEASURED)
