"""A run: its plan, its machine, and the result of every case."""

from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal

from loopmark.bench.records.machine import Environment, Machine

Status = Literal["ok", "skipped", "failed", "timed_out"]
CacheState = Literal["cold", "warm", "none"]

POWER_CAP = "power cap"  # normal for a loop that keeps the board busy: leaving it out would favour power-hungry loops


@dataclass(frozen=True)
class Plan:
    """The settings of a run, complete enough to repeat it. In an imported run the numbers are 0."""

    command: str
    workloads: tuple[str, ...]
    loops: tuple[str, ...]
    device: str
    size: str
    batch_size: int | None
    budget_seconds: float  # sampling time of one case, over all launches, without warm-up
    launches: int
    seed: int
    threads: int
    block_seconds: float
    warmup_ceiling_seconds: float
    limit_seconds: float  # the time for one request after which a worker counts as hung
    remeasure_throttled: bool = True  # True if a turn with a throttled GPU clock is repeated
    baseline: str = "eager"  # the loop, by its name in the cases, that the others are compared with


@dataclass(frozen=True)
class GpuState:
    """The state of a GPU; None if the driver does not report a value."""

    temperature_celsius: float | None = None
    power_watts: float | None = None  # of the whole board, at that moment; on newer boards over the last second
    power_limit_watts: float | None = None
    sm_clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    ecc: bool | None = None  # True if memory errors are corrected
    mig: bool | None = None  # True if the device is divided into instances


@dataclass(frozen=True)
class PhaseWork:
    """The work of one phase of a step, independent of the fusion of its operations."""

    phase: str
    flops: dict[str, float]  # of its matrix products and convolutions, by their type
    least_bytes: float  # read or written at least once: inputs made before the phase, and results that outlive it
    attention: tuple[str, ...] = ()  # kernels of scaled_dot_product_attention: `flash`, `efficient`, `cudnn`, `math`…


@dataclass(frozen=True)
class Loading:
    """The baseline's loader, looked at after its timed turns. All seconds are means on the host's clock."""

    step_seconds: float
    fetch_seconds: float  # a step's wait for its batch
    move_seconds: float  # to the device
    first_fetch_seconds: float | None  # the wait for an epoch's first batch; None if none was seen
    epoch_steps: int | None
    whole_epochs: bool  # True if the other figures include the first batch, as the blocks of the timed turns do
    trials: dict[str, float] = field(default_factory=dict)  # seconds of a step, by another setting of the loader
    untried: str | None = None  # the reason why there are none, where data takes a share of the step
    repeated: str | None = None  # a sentence, if workers give the same rows


@dataclass(frozen=True)
class GraphBreak:
    """A place where a compiled graph ends, and Python runs until the next one begins."""

    place: str  # `model.py:12`, the innermost line of the person's own code
    reason: str  # in torch's words


@dataclass(frozen=True)
class Compilation:
    """A loop's graphs, without backward graphs (each belongs to another graph); their time counts. None: unknown."""

    compiled: int  # graphs compiled in the whole launch
    late: int  # of these, the ones after the warm-up, in timed steps
    seconds: float  # the time of all compilation
    launch_seconds: float | None = None  # set-up, warm-up and turns of the launch
    again: int | None = None  # graphs compiled for code that already had one
    again_seconds: float | None = None
    again_because: str | None = None  # torch's reason for the last of them
    limit_reached: str | None = None  # torch's limit of compiling the same code again: `recompile_limit=8`
    breaks: tuple[GraphBreak, ...] = ()
    graphs_per_step: float | None = None  # the mean number of graphs that the last few steps called

    @property
    def share(self) -> float | None:
        """The share of the launch's own time that went into compilation, 0 to 1."""
        return min(1.0, self.seconds / self.launch_seconds) if self.launch_seconds else None

    @property
    def break_places(self) -> str:
        return "; ".join(dict.fromkeys(one.place for one in self.breaks))


@dataclass(frozen=True)
class Launch:
    """One fresh process of one case: its start and its memory. None: unknown in an imported run."""

    index: int
    setup_seconds: float | None
    first_step_seconds: float | None  # from the start of the set-up: the time a user waits
    warmup_steps: int | None
    warmup_seconds: float | None
    steady: bool | None  # False if warm-up ended at its ceiling while steps still became faster
    steady_step_seconds: float | None
    excess_seconds: float | None  # warm-up time beyond as many steady steps: compilation, autotuning, first touch
    compile_seconds: float | None  # until the end of the warm-up, by torch's own counters
    compile_cache: CacheState | None
    steps: int
    peak_memory_bytes: int | None
    skipped_steps: int | None  # steps that a gradient scaler skipped; None without a scaler
    final_scale: float | None
    pid: int | None
    joules_per_step: float | None = None  # over a separate window, without turns; None if no counter measures energy
    gpu: GpuState | None = None  # right after a second of only its steps; None if unavailable
    seen_per_step: dict[str, float] = field(default_factory=dict)
    """Mean samples, and units that the task counts, of a batch in its turns; empty where batches have one size."""
    cycle_steps: int | None = None
    """Steps after which the work repeats with the data, such as an epoch: each block holds a whole number of cycles."""
    compilation: Compilation | None = None  # None if torch.compile was not used, and in older runs

    @property
    def start_seconds(self) -> float | None:
        """The time of this launch beyond its steady steps: set-up, compilation and other start-up work."""
        if self.setup_seconds is None or self.excess_seconds is None:
            return None
        return self.setup_seconds + self.excess_seconds


@dataclass(frozen=True)
class Case:
    """One (workload, loop) of a run."""

    workload: str
    loop: str
    repeat: bool  # True for the baseline's repetition, which shows the machine's noise
    status: Status
    reason: str | None
    batch_size: int | None
    parameters: int | None
    data_sha256: str | None
    phases: tuple[str, ...]
    memory_kind: str | None  # the meaning of `peak_memory_bytes`: `device memory allocated` or `resident set`
    launches: tuple[Launch, ...]
    work: tuple[PhaseWork, ...] = ()  # the work of one step, phase by phase; empty if it was not counted
    loading: Loading | None = None  # of a baseline with a loader
    code: tuple[str, ...] = ()  # the change of each technique in a training script; empty in older runs
    excludes: tuple[str, ...] = ()  # the techniques that cannot join it

    @property
    def label(self) -> str:
        return labelled(self.loop, self.compilation, repeat=self.repeat)

    @property
    def compilation(self) -> Compilation | None:
        """The first launch's, whose cache was empty; None if torch.compile was not used, and in older runs."""
        return self.launches[0].compilation if self.launches else None

    @property
    def units_per_step(self) -> dict[str, float]:
        """Mean samples of a step, and the units that the task counts, such as tokens; empty where they are unknown."""
        batch = {} if self.batch_size is None else {"samples": float(self.batch_size)}
        seen = [launch.seen_per_step for launch in self.launches]
        units = dict.fromkeys(unit for one in seen for unit in one)
        return batch | {unit: fmean(one[unit] for one in seen if unit in one) for unit in units}

    @property
    def other_units(self) -> list[str]:
        """The units besides samples that the task counts."""
        return [unit for unit in self.units_per_step if unit != "samples"]

    @property
    def has_cycle(self) -> bool:
        """True if steps differ with the data, and only whole blocks of them compare."""
        return any(launch.cycle_steps for launch in self.launches)

    @property
    def attention(self) -> tuple[str, ...]:
        """The attention kernels that torch chose; empty if not observed."""
        return tuple(sorted({kernel for phase in self.work for kernel in phase.attention}))

    def ended(self, status: Status, reason: str) -> "Case":
        """This case, ended early; ``reason`` is shown in every report."""
        return replace(self, status=status, reason=reason)


@dataclass(frozen=True)
class CommandRecord:
    """One command that measured something: its plan, its time, its machine and its environment."""

    name: str
    started: str  # UTC, ISO 8601
    seconds: float
    interrupted: bool
    plan: Plan
    machine: Machine
    environment: Environment


@dataclass(frozen=True)
class Watched:
    """The script of a watched run."""

    exit_status: int | None  # None in a trainer, whose process goes on
    optimizers: tuple[str, ...]  # names of their types
    asked_steps: int | None  # the number after which it was to end; None if it ended by itself


@dataclass(frozen=True)
class Run(CommandRecord):
    """One `loopmark run`, without its samples."""

    cases: tuple[Case, ...]
    warnings: tuple[str, ...] = ()
    imported_from: str | None = None  # the tool that measured it, if not Loopmark; None and empty then mean unknown
    watched: Watched | None = None  # the script, where one was watched
    format_version: int = 1

    @property
    def was_measured(self) -> bool:
        """True if any case was."""
        return any(case.launches for case in self.cases)


def disturbs(reasons: str) -> bool:
    """True if any of ``reasons`` is a disturbance (heat, a brake, a hardware fault), not caused by the loop itself."""
    return any(reason and reason != POWER_CAP for reason in reasons.split(", "))


def labelled(loop: str, compilation: Compilation | None, *, repeat: bool = False) -> str:
    """The name of a loop as it is shown, which says so if it is repeated, or if torch.compile was used in vain."""
    vain = compilation is not None and not compilation.compiled
    return f"{loop}{' (again)' if repeat else ''}{' (not compiled)' if vain else ''}"
