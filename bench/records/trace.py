"""A trace of a few profiled steps: the time of each phase, kernel by kernel."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopmark.bench.errors import BadInput
from loopmark.bench.records.files import replace_file, writing_to
from loopmark.bench.records.run import Compilation, Status
from loopmark.bench.records.store import RUN_FILE

Counted = Literal["kernels", "operators"]

TRACE_FILE, KERNELS_FILE = "trace.json.gz", "kernels.csv"
OUTSIDE = "(outside any operator)"  # the time of a phase's own thread outside operators: Python, and waiting


@dataclass(frozen=True)
class Cost:
    """One kernel, or one operator by its self time, in an average step."""

    name: str
    calls_per_step: float
    seconds_per_step: float


@dataclass(frozen=True)
class PhaseCosts:
    """One phase in an average step, or the whole step if the host sees no phases."""

    phase: str
    host_seconds_per_step: float  # from the phase's start to its end on the host; on a CUDA device, time to enqueue it
    costs: tuple[Cost, ...]  # the largest first; kernels and threads may overlap, so their sum may exceed the phase

    @property
    def seconds_per_step(self) -> float:
        return sum(cost.seconds_per_step for cost in self.costs)

    def share(self, cost: Cost) -> float | None:
        """The share of ``cost`` in the phase's costs, 0 to 1; None if all of them take no time."""
        total = self.seconds_per_step
        return cost.seconds_per_step / total if total else None


@dataclass(frozen=True)
class Profile:
    """The record of torch.profiler for a few steps in one process."""

    steps: int
    counted: Counted  # the kernels that ran on a device, or the operators that ran on the CPU
    graphed: bool  # True if a step is one call of a driver (a graph's replay), whose phases the host does not see
    plain_step_seconds: float  # of steps in the same process just before profiling
    profiled_step_seconds: float
    phases: tuple[PhaseCosts, ...]
    unattributed: tuple[Cost, ...] = ()  # kernels outside all phases: launched between them, or without a known launch
    compilation: Compilation | None = None  # None if torch.compile was not used


@dataclass(frozen=True)
class Trace:
    """One invocation of ``loopmark trace``; without a profile, the reason."""

    workload: str
    loop: str
    device: str
    status: Status
    reason: str | None = None
    profile: Profile | None = None


def refuse_run_folder(folder: Path) -> None:
    """Raise BadInput for the folder of a run: profiled steps are never stored with measured ones."""
    if (folder / RUN_FILE).exists():
        raise BadInput(f"{folder} holds a run, and profiled steps never mix with measured ones; choose another --out")


def write_trace(folder: Path, trace: bytes, kernels: str) -> None:
    """Write a compressed Chrome trace and its kernels' CSV to ``folder``. Raises BadInput if that fails."""
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / TRACE_FILE, trace)
        replace_file(folder / KERNELS_FILE, kernels)
