"""From what was asked of two sides to two contestants, with the files and interpreters that they need."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from loopmark.bench.errors import BadInput, NotComparable
from loopmark.bench.measure.assignment import Assignment, Tree
from loopmark.bench.measure.contest import Contest, Contestant
from loopmark.bench.measure.launcher import ForkServer, Interpreter
from loopmark.bench.measure.machine import available_cores
from loopmark.bench.measure.side import SideWish, own_interpreter, side_threads
from loopmark.bench.measure.worktree import resolve, working_tree, worktree
from loopmark.bench.records.run import Plan
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.loop import EAGER
from loopmark.loops.user_code import BadSpec
from loopmark.loops.workload import Size

DEFAULT_WORKLOAD = "resnet"


@dataclass(frozen=True)
class Matchup:
    """Two contestants, and whether one server forks both."""

    base: Contestant
    head: Contestant
    shared_server: bool

    def contest(self, plan: Plan) -> Contest:
        """The contest between them, as ``plan`` has it."""
        return Contest(
            self.base,
            self.head,
            block_seconds=plan.block_seconds,
            limit_seconds=plan.limit_seconds,
            warmup_ceiling_seconds=plan.warmup_ceiling_seconds,
        )


@contextmanager
def matchup(
    base: SideWish, head: SideWish, plan: Plan, *, workload: str | None, loop: str | None, slowdown: float = 0.0
) -> Iterator[Matchup]:
    """The contestants for two wishes; worktrees are there until the context ends.

    One server forks both sides where both run in this interpreter and environment: what then differs is what they were
    asked to differ in. Otherwise every launch is a process from nothing.

    Args:
        workload: of a side that names none; None for the default one.
        loop: of a side that names none; None for ``eager``.
        slowdown: the share by which the head is held up on purpose.

    Raises:
        BadInput: a loop, workload, revision or interpreter that is none.
        NotComparable: one that cannot run on this machine.
    """
    wishes = {"base": base, "head": head}
    shared = all(wish.python in (None, own_interpreter()) and not wish.variables for wish in (base, head))
    trees = base.revision is not None or head.revision is not None
    cores = available_cores()
    most = len(cores) or plan.threads
    threads = {name: side_threads(wish, f"--{name}", plan.threads, most) for name, wish in wishes.items()}
    names = {
        name: (wish.workload or workload or DEFAULT_WORKLOAD, wish.loop or loop or EAGER.name)
        for name, wish in wishes.items()
    }
    for name, wish in wishes.items():
        if wish.revision is None and wish.python is None and not wish.variables:
            _refuse_unknown(*names[name], plan.device)
    clean = all(wish.revision is not None for wish in wishes.values())
    commits = {
        name: resolve(wish.revision, f"--{name}", clean=clean)
        for name, wish in wishes.items()
        if wish.revision is not None
    }
    with ExitStack() as stack:
        places: dict[str, Tree | None] = {}
        for name in wishes:
            if name in commits:
                places[name] = stack.enter_context(worktree(commits[name])).tree
            else:
                places[name] = working_tree() if trees else None
        server = ForkServer(own_loops=not trees) if shared else None
        sides = [
            Contestant(
                name=name,
                given=wish.given,
                commit=commits[name][:12] if name in commits else None,
                assignment=Assignment(
                    workload=names[name][0],
                    loop=names[name][1],
                    device=plan.device,
                    size=cast(Size, plan.size),
                    batch_size=plan.batch_size,
                    seed=plan.seed,
                    threads=threads[name],
                    cores=cores[: max(threads.values())],
                    compile_cache=Path(),
                    neighbours=1,
                    log=Path(),
                    tree=places[name],
                    slowdown=slowdown if name == "head" else 0.0,
                ),
                launcher=server or Interpreter(wish.python or own_interpreter(), wish.variables),
            )
            for name, wish in wishes.items()
        ]
        yield Matchup(sides[0], sides[1], server is not None)


def _refuse_unknown(workload: str, loop: str, device: str) -> None:
    try:
        lacks = find_workload(workload).lacks() or find_loop(loop).lacks(torch.device(device))
    except BadSpec as error:
        raise BadInput(str(error)) from error
    if lacks:
        raise NotComparable(lacks)
