"""``loopmark verify``: whether a loop keeps what the canonical step promises."""

from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import CANNOT_RUN, NOT_VERIFIED, Invocation, print_json


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
    """Check that a loop does what a training step promises, and explain what it does not.

    Gradients are zeroed, only the optimizer moves parameters, each phase does its own work, the loss falls, and so on.
    Exit status: 0 all of it holds, 1 something is broken, 2 bad input, 4 it cannot be tried here, 130 when
    interrupted.
    """
    invocation = Invocation(
        None,
        as_json,
        workloads=[workload],
        loops=loop,
        device=device,
        size=size,
        batch_size=batch_size,
        seed=seed,
        threads=threads,
        limit_seconds=limit,
    )
    from loopmark.bench.measure.inspection import verify as examine
    from loopmark.bench.progress import RunProgress
    from loopmark.bench.report.checklist import print_verification, verifications_as_json

    with RunProgress(invocation.console) as progress:
        found = examine(invocation.plan, tuple(dict.fromkeys(spec.strip() for spec in loop)), progress.hint)
    if as_json:
        print_json(verifications_as_json(found))
    else:
        print_verification(found)
    if any(one.broken for one in found):
        raise typer.Exit(NOT_VERIFIED)
    if any(one.skipped for one in found):
        raise typer.Exit(CANNOT_RUN)
