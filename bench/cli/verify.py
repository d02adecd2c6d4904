"""``loopmark verify``: whether a loop keeps what the canonical step promises."""

import json
import signal
import sys
from typing import Annotated

import typer

from loopmark.bench.cli.options import (
    BatchSizeOption,
    DeviceOption,
    FoundJsonOption,
    LoopArguments,
    SeedOption,
    SizeOption,
    ThreadsOption,
    WorkloadOption,
)
from loopmark.bench.cli.status import CANNOT_RUN, NOT_VERIFIED


def verify(
    loop: LoopArguments,
    workload: WorkloadOption = "resnet",
    device: DeviceOption = None,
    size: SizeOption = None,
    batch_size: BatchSizeOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    limit: Annotated[float, typer.Option(help="Seconds after which a check counts as hung.")] = 300.0,
    as_json: FoundJsonOption = False,
) -> None:
    """Check that a loop does what a training step promises, and explain what it does not.

    Gradients are zeroed, only the optimizer moves parameters, each phase does its own work, the loss falls, and so on.
    Exit status: 0 all of it holds, 1 something is broken, 2 bad input, 4 it cannot be tried here, 130 when
    interrupted.
    """
    from loopmark.bench.progress import RunProgress, announce_torch, stderr_console

    console = stderr_console()
    announce_torch(console, quiet=as_json)
    from loopmark.bench.measure.inspection import verify as examine
    from loopmark.bench.measure.plan import PlanOptions, make_plan
    from loopmark.bench.report.verification import as_json as to_json
    from loopmark.bench.report.verification import print_verification

    plan = make_plan(
        PlanOptions(
            command=["loopmark", *sys.argv[1:]],
            workloads=[workload],
            loops=loop,
            device=device,
            size=size,
            batch_size=batch_size,
            seed=seed,
            threads=threads,
            limit_seconds=limit,
        )
    )
    loops = tuple(dict.fromkeys(spec.strip() for spec in loop))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite `kill` ends the processes too
    with RunProgress(console) as progress:
        found = examine(plan, loops, progress.hint)
    if as_json:
        print(json.dumps(to_json(found), indent=2, allow_nan=False))
    else:
        print_verification(found)
    if any(one.broken for one in found):
        raise typer.Exit(NOT_VERIFIED)
    if any(one.skipped for one in found):
        raise typer.Exit(CANNOT_RUN)
