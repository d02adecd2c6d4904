"""The limits of a device, as measured by `loopmark ceilings`: one file per device and number of threads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopmark.bench.records.files import damaged, read_record
from loopmark.bench.records.machine import Environment, Machine

CEILINGS_FILE = "ceilings.json"  # in a run's folder: its device's ceilings, measured during the run
AGAIN = "measure again: loopmark ceilings"

Kind = Literal["matrix product", "copy", "launch", "host to device", "device to host"]
Variant = Literal["host", "device", "pinned", "pageable"]
"""A launch takes time on the host, to enqueue it, and on the device. A transfer's host memory is pinned or pageable."""
Unit = Literal["flops per second", "bytes per second", "seconds"]
UNITS: dict[Kind, Unit] = {"matrix product": "flops per second", "launch": "seconds"}
UNITS |= dict.fromkeys(("copy", "host to device", "device to host"), "bytes per second")
LEAST, MOST = 1e-12, 1e24  # in any of these units; beyond any device


@dataclass(frozen=True)
class Tried:
    """One candidate size with all its samples, in chronological order and in the ceiling's unit."""

    size: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Interference:
    """Disturbances by other processes, over all samples of one size."""

    sampled_seconds: float  # the total time of these samples
    involuntary_switches: int  # of threads that still had work
    steal_seconds: float  # time of the cores that a hypervisor gave to other machines
    throttle_reasons: tuple[str, ...]
    foreign_processes: int  # the largest number of other processes on the GPU


@dataclass(frozen=True)
class Ceiling:
    """The best sustained figure: the median of the best size's samples."""

    kind: Kind
    dtype: str | None  # torch's name without `torch.`, or `tf32`; None if the kind has no arithmetic
    value: float
    low: float
    high: float  # ends of the median's 95 % interval, from the samples of one process
    unit: Unit
    best_size: int  # rows of a square matrix, bytes of a copied tensor, elements of a launch
    samples: int  # of the best size
    variant: Variant | None = None  # None for a kind that has no variants
    steady: bool = True  # False if the warm-up on the smallest size ended at its limit
    disturbance: Interference | None = None  # of the best size's samples
    held: float | None = None  # the rate of a GPU's best matrix product after seconds of load, when hot or at its limit
    tried: tuple[Tried, ...] = ()  # the best size among them


@dataclass(frozen=True)
class LeftOut:
    """A kind without a ceiling here, and the reason."""

    kind: Kind
    dtype: str | None
    reason: str
    variant: Variant | None = None


@dataclass(frozen=True)
class Ceilings:
    """One device's ceilings, with the threads and cores of ``environment``."""

    started: str  # UTC, ISO 8601
    seconds: float  # the time of measuring
    budget_seconds: float
    seed: int
    machine: Machine
    environment: Environment  # with the threads and cores in use
    device: str
    ceilings: tuple[Ceiling, ...]
    left_out: tuple[LeftOut, ...] = ()
    ceilings_version: int = 1

    def flops_per_second(self, dtype: str) -> Ceiling | None:
        """The rate of matrix products in ``dtype`` (``float32``, ``tf32``, ``bfloat16``…); None if unknown."""
        return next((one for one in self.ceilings if (one.kind, one.dtype) == ("matrix product", dtype)), None)

    def bytes_per_second(self) -> Ceiling | None:
        """The rate of copies in the device's memory, as the sum of bytes read and written; None if unknown."""
        return next((one for one in self.ceilings if one.kind == "copy"), None)


def ceilings_path(folder: Path, device: str, threads: int) -> Path:
    """The path in a machine's folder of the ceilings of ``device`` with this number of threads."""
    return folder / f"ceilings-{device.replace(':', '-')}-{threads}threads.json"


def read_ceilings(path: Path) -> Ceilings | None:
    """The ceilings in ``path``; None if there is no such file. Raises BadInput if they are invalid."""
    ceilings = read_record(path, Ceilings, again=AGAIN)
    for one in ceilings.ceilings if ceilings else ():
        if one.unit != UNITS[one.kind]:
            raise damaged(path, f"the {one.kind} should be in {UNITS[one.kind]}", AGAIN)
        if not LEAST < one.low <= one.value <= one.high < MOST:
            raise damaged(path, f"the {one.kind} of {one.value:g} should be positive and lie in its interval", AGAIN)
        if one.held is not None and not LEAST < one.held < MOST:
            raise damaged(path, f"the sustained rate of the {one.kind} should be positive", AGAIN)
        if one.best_size < 1 or one.samples < 1:
            raise damaged(path, f"the {one.kind} should have a size and samples", AGAIN)
    return ceilings
