"""``loopmark find-batch``: the largest batch that fits, and the one with the best throughput."""

from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import Invocation, exit_by
from loopmark.bench.cli.options import RESULTS, names
from loopmark.bench.cli.report import show_batches


def find_batch(
    workload: options.Workloads = None,
    loop: options.Loops = None,
    device: options.Device = None,
    size: options.Size = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Samples a step to begin with; default: the workload's own.")
    ] = None,
    budget: Annotated[float, typer.Option(help="Seconds of searching per case.")] = 60.0,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    limit: options.Limit = 300.0,
    out: Annotated[Path, options.out("<machine>/<search>/")] = RESULTS,
    deterministic: options.Deterministic = False,
    quick: options.Quick = False,
    as_json: options.FoundJson = False,
) -> None:
    """Search for the largest batch that fits, and for the smallest of those with the best throughput.

    Each batch size is tried in a fresh process. Eager is searched as well, whatever is asked for.
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
        seed=seed,
        threads=threads,
        limit_seconds=limit,
        quick=quick,
        deterministic=deterministic,
    )
    from loopmark.bench.measure.batch_search import BatchSearch

    with invocation.pool() as (folder, pool, progress):
        found = BatchSearch(invocation.plan, invocation.machine, invocation.started, progress).run(pool)
    show_batches(found, folder, as_json, invocation.console)
    exit_by((case.status for case in found.cases), interrupted=found.interrupted)
