"""``loopmark train``: every loop beside eager, step by step, and trained to its target from several seeds."""

from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import Invocation, exit_by
from loopmark.bench.cli.options import RESULTS, names
from loopmark.bench.cli.report import show_training


def train(
    workload: options.Workloads = None,
    loop: options.Loops = None,
    device: options.Device = None,
    size: options.Size = None,
    batch_size: options.BatchSize = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds each loop trains from; default: 3.")] = None,
    seed: Annotated[int, typer.Option(help="The first of them.")] = 0,
    budget: Annotated[float | None, typer.Option(help="Most seconds of training for each seed; default: 30.")] = None,
    deterministic: options.Deterministic = False,
    threads: options.Threads = None,
    limit: Annotated[float, options.limit("a start or a part of training")] = 300.0,
    out: Annotated[Path, options.out("<machine>/<training>/")] = RESULTS,
    quick: options.Quick = False,
    as_json: options.SummaryJson = False,
) -> None:
    """Train every loop on real data until its quality no longer rises, and say whether it trains what eager trains.

    Each loop's first steps are compared with eager's from the same state. Eager is trained as well, whatever is asked
    for. Exit status: 0, or 1 when a loop failed or timed out, 2 for bad input, 130 when interrupted.
    """
    invocation = Invocation(
        out,
        as_json,
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
    from loopmark.bench.measure.plan import training_terms
    from loopmark.bench.measure.training.trainer import Trainer
    from loopmark.bench.report.training.draw import draw_training

    terms = training_terms(seeds, budget, quick=quick)
    with invocation.pool() as (folder, pool, progress):
        training, samples = Trainer(invocation.plan, terms, invocation.machine, progress).run(pool)
    show_training(draw_training(folder, training, samples), folder, as_json, invocation.console)
    statuses = {one.status for several in (training.proofs, training.trials) for one in several}
    exit_by(statuses, interrupted=training.interrupted)
