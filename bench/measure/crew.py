"""The processes of one run: all started alike, their compiled code and whatever they print kept in one place."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.launcher import ForkServer
from loopmark.bench.measure.machine import available_cores
from loopmark.bench.measure.process import WorkerProcess
from loopmark.bench.records.run import Plan
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.loop import EAGER
from loopmark.loops.workload import Size


class Crew:
    """Starts worker processes for a plan, all on one set of cores.

    Args:
        plan: of the run.
        folder: of the run.
        caches: where each case keeps its compiled code, so that a second process of it finds what the first compiled.
    """

    def __init__(self, plan: Plan, folder: Path, caches: Path) -> None:
        self.folder = folder
        self.cores = available_cores()[: plan.threads]
        self.limit_seconds = plan.limit_seconds
        self._plan, self._caches = plan, caches
        self._launcher = ForkServer()
        self._batch_sizes: dict[str, int] = {}

    def start(
        self,
        workload: str,
        loop: str,
        *,
        log: str,
        neighbours: int,
        seed: int | None = None,
        batch_size: int | None = None,
    ) -> WorkerProcess:
        """A new process of one case, by the names of its workload and loop.

        Args:
            log: the name of the file in ``logs/`` that what it prints goes to.
            neighbours: how many others are there.
            seed: of weights and batches; None for the plan's.
            batch_size: None for the plan's, or what ``shrink`` has made of it.
        """
        plan = self._plan
        assignment = Assignment(
            workload=next(spec for spec in plan.workloads if find_workload(spec).name == workload),
            loop=next(spec for spec in (EAGER.name, *plan.loops) if find_loop(spec).name == loop),
            device=plan.device,
            size=cast(Size, plan.size),
            batch_size=self._batch_sizes.get(workload, plan.batch_size) if batch_size is None else batch_size,
            seed=plan.seed if seed is None else seed,
            threads=plan.threads,
            cores=self.cores,
            compile_cache=self._cache(workload, loop),
            neighbours=neighbours,
            log=self.folder / "logs" / f"{log}.txt",
        )
        return WorkerProcess(self._launcher, assignment)

    def shrink(self, workload: str, batch_size: int | None) -> int | None:
        """Halve the batches of all later processes of ``workload``, and return their size.

        None where that cannot be: a person has chosen the size, there is none, or the workload does not heed it.
        """
        asked = self._batch_sizes.get(workload, batch_size)
        if self._plan.batch_size is not None or batch_size is None or batch_size < 2 or batch_size != asked:
            return None
        self._batch_sizes[workload] = batch_size // 2
        return batch_size // 2

    def unshrink(self, workload: str) -> None:
        """Undo ``shrink`` for later processes of ``workload``."""
        self._batch_sizes.pop(workload, None)

    def forget_compiled(self, workload: str, loop: str) -> None:
        """Have the case's next process compile from nothing."""
        shutil.rmtree(self._cache(workload, loop), ignore_errors=True)

    def start_idle(self, *, log: str) -> WorkerProcess:
        """A new process like the others that has no task to set up: it is there for the device and not for a case."""
        return self.start(find_workload(self._plan.workloads[0]).name, EAGER.name, log=log, neighbours=0)

    def _cache(self, workload: str, loop: str) -> Path:
        # By a hash: names are a person's own, and of any length.
        folder = self._caches / hashlib.sha256(f"{workload}\0{loop}".encode(errors="replace")).hexdigest()[:16]
        folder.mkdir(exist_ok=True)
        return folder


@contextmanager
def crew_of(plan: Plan, folder: Path) -> Iterator[Crew]:
    """The crew for a run in ``folder``; in the end its compiled code is removed, and every log that stayed empty."""
    caches = Path(tempfile.mkdtemp(prefix="loopmark-compiled-"))
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    try:
        yield Crew(plan, folder, caches)
    finally:
        shutil.rmtree(caches, ignore_errors=True)
        _remove_empty(logs)


def _remove_empty(logs: Path) -> None:
    for log in logs.iterdir():
        if log.stat().st_size == 0:
            log.unlink()
    if not any(logs.iterdir()):
        logs.rmdir()
