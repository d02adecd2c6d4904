"""What a test asked to have measured."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loopmark.bench.errors import BadInput

if TYPE_CHECKING:
    from loopmark.bench.records.run import Plan

_OPTION = re.compile(r"--([a-z][a-z-]*)")
_IN_PYTHON = {"budget": "seconds"}


@dataclass(frozen=True)
class Wanted:
    """One call of ``loop_benchmark``; names and defaults are those of the command line."""

    test: str
    workload: str
    loop: str
    against: str | None
    device: str | None
    size: str | None
    batch_size: int | None
    seconds: float
    launches: int
    seed: int
    threads: int | None
    limit_seconds: float
    threshold: float
    false_alarms: float

    def plan(self, root: Path) -> "Plan":
        """The plan of one run with the loop, the one that it is held against, and eager.

        Args:
            root: where the paths in ``file.py:name`` start, if the file is there; else the current folder is.

        Raises:
            BadInput: it cannot be carried out; one line.
        """
        from loopmark.bench.measure.plan import PlanOptions, make_plan

        loops = [spec for spec in (self.loop, self.against) if spec is not None]
        return make_plan(
            PlanOptions(
                command=["pytest", self.test],
                workloads=[rooted(self.workload, root)],
                loops=[rooted(spec, root) for spec in loops],
                device=self.device,
                size=self.size,
                batch_size=self.batch_size,
                budget_seconds=self.seconds,
                launches=self.launches,
                seed=self.seed,
                threads=self.threads,
                limit_seconds=self.limit_seconds,
                quick=True,  # of what is not given here, it only shortens the longest warm-up
            )
        )

    def names(self, root: Path) -> "Names":
        """What was asked for, by the names that the run has for it. Raises BadInput for a loop against itself."""
        from loopmark.loops.catalog import find_loop, find_workload

        loop = find_loop(rooted(self.loop, root)).name
        against = None if self.against is None else find_loop(rooted(self.against, root)).name
        if loop == against:
            raise BadInput(f"against={self.against!r} is the loop itself; give another, such as 'eager'")
        return Names(find_workload(rooted(self.workload, root)).name, loop, against)


@dataclass(frozen=True)
class Names:
    """A workload and loops by their own names, whatever way they were asked for in."""

    workload: str
    loop: str
    against: str | None


def rooted(spec: str, root: Path) -> str:
    """``spec`` with a file that lies below ``root`` by its whole path: tests are run from any folder."""
    place, colon, name = spec.partition(":")
    return f"{root / place}{colon}{name}" if place.endswith(".py") and (root / place).is_file() else spec


def in_python(text: str) -> str:
    """``text`` with the command line's options named as the fixture's parameters: ``--batch-size`` is batch_size."""
    return _OPTION.sub(lambda match: _IN_PYTHON.get(match[1], match[1].replace("-", "_")), text)
