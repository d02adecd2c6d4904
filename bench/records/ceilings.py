"""What a device can do, as `loopmark ceilings` measured it: one device with so many threads a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopmark.bench.records.files import damaged, read_record
from loopmark.bench.records.machine import Environment, Machine

CEILINGS_FILE = "ceilings.json"  # in a run's folder: what its device could do while it was measured
AGAIN = "measure again: loopmark ceilings"

Kind = Literal["matrix product", "copy", "launch", "host to device", "device to host"]
Variant = Literal["host", "device", "pinned", "pageable"]
"""A launch takes time of the host, to enqueue it, and of the device. A transfer's host memory is pinned or pageable."""
Unit = Literal["flops per second", "bytes per second", "seconds"]
UNITS: dict[Kind, Unit] = {"matrix product": "flops per second", "launch": "seconds"}
UNITS |= dict.fromkeys(("copy", "host to device", "device to host"), "bytes per second")
LEAST, MOST = 1e-12, 1e24  # in any of these units; no device is beyond


@dataclass(frozen=True)
class Tried:
    """One size that was in the running, with all its samples in their order, in the ceiling's unit."""

    size: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Interference:
    """What others did meanwhile, over all samples of one size."""

    sampled_seconds: float  # that these samples took together
    involuntary_switches: int  # of threads that still had work
    steal_seconds: float  # of the cores, that a hypervisor gave to others
    throttle_reasons: tuple[str, ...]
    foreign_processes: int  # the most that were on the GPU beside this one


@dataclass(frozen=True)
class Ceiling:
    """The best that was sustained: the median of the best size's samples."""

    kind: Kind
    dtype: str | None  # as torch prints it without `torch.`, and `tf32`; None for what is no arithmetic
    value: float
    low: float
    high: float  # of the median's interval of 95 %, from these samples of one process alone
    unit: Unit
    best_size: int  # rows of a square matrix, bytes of a copied tensor, elements of a launch
    samples: int  # of the best size
    variant: Variant | None = None  # None for a kind that has no variants
    steady: bool = True  # False where warm-up, on the smallest size, ended at its limit
    disturbance: Interference | None = None  # of the best size's samples
    held: float | None = None  # what a GPU's best matrix product came to after seconds of it, hot or at its limit
    tried: tuple[Tried, ...] = ()  # the best size among them


@dataclass(frozen=True)
class LeftOut:
    """What has no ceiling here, and why."""

    kind: Kind
    dtype: str | None
    reason: str
    variant: Variant | None = None


@dataclass(frozen=True)
class Ceilings:
    """One device's ceilings, reached with so many threads on these cores."""

    started: str  # UTC, ISO 8601
    seconds: float  # that measuring took
    budget_seconds: float
    seed: int
    machine: Machine
    environment: Environment  # with the threads and cores that were used
    device: str
    ceilings: tuple[Ceiling, ...]
    left_out: tuple[LeftOut, ...] = ()
    ceilings_version: int = 1

    def flops_per_second(self, dtype: str) -> Ceiling | None:
        """The rate of matrix products in ``dtype`` (``float32``, ``tf32``, ``bfloat16``…); None where not known."""
        return next((one for one in self.ceilings if (one.kind, one.dtype) == ("matrix product", dtype)), None)

    def bytes_per_second(self) -> Ceiling | None:
        """The rate of copies in the device's memory, bytes read and written together; None where not known."""
        return next((one for one in self.ceilings if one.kind == "copy"), None)


def ceilings_path(folder: Path, device: str, threads: int) -> Path:
    """Where a machine's folder keeps the ceilings of ``device`` with so many threads."""
    return folder / f"ceilings-{device.replace(':', '-')}-{threads}threads.json"


def read_ceilings(path: Path) -> Ceilings | None:
    """The ceilings in ``path``; None where there is no such file. Raises BadInput where they are no sound ones."""
    ceilings = read_record(path, Ceilings, again=AGAIN)
    for one in ceilings.ceilings if ceilings else ():
        if one.unit != UNITS[one.kind]:
            raise damaged(path, f"the {one.kind} should be in {UNITS[one.kind]}", AGAIN)
        if not LEAST < one.low <= one.value <= one.high < MOST:
            raise damaged(path, f"the {one.kind} of {one.value:g} should be positive and lie in its interval", AGAIN)
        if one.held is not None and not LEAST < one.held < MOST:
            raise damaged(path, f"what the {one.kind} held should be positive", AGAIN)
        if one.best_size < 1 or one.samples < 1:
            raise damaged(path, f"the {one.kind} should have a size and samples", AGAIN)
    return ceilings
