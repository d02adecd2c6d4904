"""A loop tried and not measured: what is left of a benchmark where benchmarks are disabled."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from loopmark.bench.plugin.measurement import Stop, expect_possible
from loopmark.bench.records.run import Plan

if TYPE_CHECKING:
    from loopmark.loops.workload import Size


def smoke(plan: Plan) -> None:
    """A handful of steps of every loop of ``plan``, and of eager.

    Each in a process of its own: a loop may change switches of the whole process, and the other tests share ours.

    Raises:
        Stop: a loop failed, or cannot run here.
    """
    expect_possible(plan)
    with tempfile.TemporaryDirectory(prefix="loopmark-pytest-") as folder:
        for number, loop in enumerate(plan.loops):
            _try(plan, loop, Path(folder) / str(number))


def _try(plan: Plan, loop: str, folder: Path) -> None:
    from loopmark.bench.measure.assignment import Assignment
    from loopmark.bench.measure.launcher import ForkServer
    from loopmark.bench.measure.pool import CaseEnded, WorkerProcess

    folder.mkdir()
    assignment = Assignment(
        workload=plan.workloads[0],
        loop=loop,
        device=plan.device,
        size=cast("Size", plan.size),
        batch_size=plan.batch_size,
        seed=plan.seed,
        threads=plan.threads,
        cores=(),  # not pinned: others, xdist's for one, are at work beside it
        compile_cache=folder / "compiled",
        neighbours=0,
        log=folder / "log.txt",
    )
    process = WorkerProcess(ForkServer(), assignment)
    try:
        process.within(plan.limit_seconds).set_up(with_hash=False)
        # With no time to become steady, a warm-up is as few steps as it can be.
        process.within(plan.limit_seconds).warm(ceiling_seconds=0.0)
    except CaseEnded as end:
        raise Stop(end.reason, skipped=end.status == "skipped") from None
    finally:
        process.kill()
