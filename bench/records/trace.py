"""A trace of a few profiled steps: what each phase's time went to, kernel by kernel."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopmark.bench.errors import BadInput
from loopmark.bench.records.files import replace_file, writing_to
from loopmark.bench.records.run import Status
from loopmark.bench.records.store import RUN_FILE, create_folder

Counted = Literal["kernels", "operators"]

TRACE_FILE, KERNELS_FILE = "trace.json.gz", "kernels.csv"
OUTSIDE = "(outside any operator)"  # what a phase's own thread did in no operator: Python, and waiting


@dataclass(frozen=True)
class Cost:
    """One kernel, or one operator by its self time, in an average step."""

    name: str
    calls_per_step: float
    seconds_per_step: float


@dataclass(frozen=True)
class PhaseCosts:
    """One phase in an average step, or the whole step where the host sees no phase of it."""

    phase: str
    host_seconds_per_step: float  # from the phase's begin to its end on the host; on a CUDA device, time to enqueue it
    costs: tuple[Cost, ...]  # the dearest first; kernels and threads may overlap, so they add up to what was used

    @property
    def seconds_per_step(self) -> float:
        return sum(cost.seconds_per_step for cost in self.costs)

    def share(self, cost: Cost) -> float | None:
        """The part of the phase's costs that ``cost`` is, 0 to 1; None where all of them take no time."""
        total = self.seconds_per_step
        return cost.seconds_per_step / total if total else None


@dataclass(frozen=True)
class Profile:
    """What torch.profiler saw of a few steps in one process."""

    steps: int
    counted: Counted  # the kernels that ran on a device, or the operators that ran on the CPU
    graphed: bool  # whether a step is one call of a driver, a graph's replay, of which the host sees no phase
    plain_step_seconds: float  # of the steps in the same process just before the profiler began
    profiled_step_seconds: float
    phases: tuple[PhaseCosts, ...]
    unattributed: tuple[Cost, ...] = ()  # kernels whose launch is not in the trace, or between phases; in no phase


@dataclass(frozen=True)
class Trace:
    """One invocation of ``loopmark trace``; without a profile, the reason why there is none."""

    workload: str
    loop: str
    device: str
    status: Status
    reason: str | None = None
    profile: Profile | None = None


def create_trace_folder(root: Path, machine: str, started: str, slug: str) -> Path:
    """A new, empty folder ``root/machine/traces/<start>-<slug>``; ``slug`` names the case."""
    return create_folder(root / machine, "traces", started, f"-{slug}")


def refuse_run_folder(folder: Path) -> None:
    """Raise BadInput for the folder of a run: what was profiled is never kept among what was measured."""
    if (folder / RUN_FILE).exists():
        raise BadInput(f"{folder} holds a run, and profiled steps never mix with measured ones; choose another --out")


def write_trace(folder: Path, trace: bytes, kernels: str) -> None:
    """Keep a compressed Chrome trace and its kernels' CSV in ``folder``. Raises BadInput where they cannot be."""
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / TRACE_FILE, trace)
        replace_file(folder / KERNELS_FILE, kernels)
