"""The bound of each phase on a device: the host that launches it, or the device's work; and its distance to a limit.

The host enqueues work, and the device executes it. Both clocks are read at each phase's end, and both start with a
block, which begins with an idle device. The lead is the time by which the device ends a phase later than the host. A
device that has caught up waits for the next launch: the phase is launch-bound, and a faster kernel changes nothing.
While work is still queued, the phase is device-bound, and a faster host changes nothing. Laps alone do not show this,
since a host with a full queue waits too. Phases that repeat within a step have only sums, and rough leads.

A phase takes at least the longer of two times at the device's measured ceilings: that of its floating-point
operations, and that of the bytes it moves (Williams, Waterman and Patterson, "Roofline", 2009). The time beyond that is
launches, waiting, kernels below their best, and bytes that move more than once.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from loopmark.bench.judge.laps import block_numbers, block_starts, found_busy, phase_numbers
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.records.ceilings import Ceiling, Ceilings
from loopmark.bench.records.run import PhaseWork

CAUGHT_UP_SECONDS, CAUGHT_UP_SHARE = 10e-6, 0.1
"""A shorter lead, or share of the phase, counts as none: the last kernel and reading two clocks take microseconds."""


@dataclass(frozen=True)
class Bound:
    """One phase of a case, as medians over its steps: the host's time to enqueue it, the device's time with waiting,
    and the lead at its end."""

    host_seconds: float
    device_seconds: float
    lead_seconds: float
    by: Literal["launch-bound", "device-bound"]


def bounds(laps: pd.DataFrame, order: Sequence[str]) -> dict[str, Bound]:
    """The bound of each phase of one case, by name; empty if one of the clocks saw no phases.

    ``laps`` are rows of ``Samples.phases`` in stored order; ``order`` is the order of the result. The first of several
    steps in a block is left out, since only this one begins with an idle device.
    """
    host, device = laps["host_seconds"].to_numpy(), laps["device_seconds"].to_numpy()
    if not (seen := ~(np.isnan(host) | np.isnan(device))).all():
        laps, host, device = laps[seen], host[seen], device[seen]
    if laps.empty:
        return {}
    starts, leads = block_starts(laps), np.cumsum(device - host)
    lead = leads - np.append(0.0, leads[starts[1:] - 1])[block_numbers(starts, len(laps))]
    counts, (phase, names) = found_busy(laps), phase_numbers(laps)
    found = {}
    for i in np.flatnonzero(np.bincount(phase[counts])):
        chosen = counts & (phase == i)
        enqueued, taken, ahead = (float(np.median(figure[chosen])) for figure in (host, device, lead))
        caught_up = ahead <= max(CAUGHT_UP_SECONDS, CAUGHT_UP_SHARE * taken)
        found[names[i]] = Bound(enqueued, taken, ahead, "launch-bound" if caught_up else "device-bound")
    return {phase: found[phase] for phase in order if phase in found}


@dataclass(frozen=True)
class Roof:
    """One phase: its time, its work, and the least time for this work at the device's ceilings."""

    seconds: float
    flops: float
    least_bytes: float
    arithmetic_seconds: Estimate  # at the ceilings of the types used in its products
    memory_seconds: Estimate  # at the ceiling of copying

    @property
    def limit_seconds(self) -> Estimate:
        return max(self.arithmetic_seconds, self.memory_seconds, key=lambda estimate: estimate.value)

    @property
    def limited_by(self) -> Literal["arithmetic", "memory"]:
        return "arithmetic" if self.arithmetic_seconds.value >= self.memory_seconds.value else "memory"

    @property
    def share(self) -> float:
        """The share of its limit that it reaches; 1 is the device's best."""
        return self.limit_seconds.value / self.seconds if self.seconds else math.nan

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds if self.seconds else math.nan

    @property
    def intensity(self) -> float:
        """Floating-point operations per byte that must move."""
        return self.flops / self.least_bytes if self.least_bytes else math.inf


@dataclass(frozen=True)
class Roofline:
    """One case at the device's ceilings."""

    phases: dict[str, Roof]
    step_limit_seconds: Estimate  # the least time of a step: the sum of its phases' limits
    share: Estimate  # of that limit that the step reaches, with the intervals of both
    utilisation: Estimate
    """Model FLOPs utilisation (Chowdhery and others, "PaLM", 2022): seconds of the baseline's operations at the
    measured ceiling of this loop's types, which is below a datasheet's, over the seconds of the step."""
    taken: float | None = None  # share of the possible speedup; None for the baseline, or if no speedup is possible
    slow_types: Mapping[str, float] = field(default_factory=dict)
    """Types used in its products that are certainly slower than float32 here, with their share of float32's rate."""


def roofline(
    work: Sequence[PhaseWork],
    phase_seconds: dict[str, float],
    step_seconds: Estimate,
    ceilings: Ceilings,
    baseline_flops: float,
    baseline_seconds: float | None = None,
) -> Roofline | None:
    """The roofline of one case's step at ``ceilings``; None if a needed ceiling is unknown.

    ``step_seconds`` are those of steps without timed phases. ``baseline_seconds`` are the baseline's, from the loop's
    speedup; None for the baseline itself.
    """
    roofs: dict[str, Roof] = {}
    copy = ceilings.bytes_per_second()
    for one in work:
        arithmetic = _arithmetic(one, ceilings)
        if arithmetic is None or copy is None:
            return None
        seconds, memory = phase_seconds.get(one.phase, math.nan), _seconds(one.least_bytes, copy)
        roofs[one.phase] = Roof(seconds, sum(one.flops.values()), one.least_bytes, arithmetic, memory)
    flops = flops_of(work)
    if not flops or step_seconds.value <= 0:
        return None
    limit = _sum(roof.limit_seconds for roof in roofs.values())
    needed = _sum(roof.arithmetic_seconds for roof in roofs.values()).map(lambda s: s * baseline_flops / flops)
    taken = None
    if baseline_seconds and baseline_seconds > limit.value:
        taken = (baseline_seconds - step_seconds.value) / (baseline_seconds - limit.value)
    timed = {name: roof for name, roof in roofs.items() if name in phase_seconds}
    share, utilisation = _over(limit, step_seconds), _over(needed, step_seconds)
    return Roofline(timed, limit, share, utilisation, taken, _slow_types(kinds_of(work), ceilings))


def flops_of(work: Iterable[PhaseWork]) -> float:
    return sum(sum(one.flops.values()) for one in work)


def kinds_of(work: Iterable[PhaseWork]) -> tuple[str, ...]:
    """The types of a step's products, the one with the most operations first."""
    total: Counter[str] = Counter()
    for one in work:
        total.update({kind: int(flops) for kind, flops in one.flops.items()})
    return tuple(kind for kind, _ in total.most_common())


def _slow_types(kinds: Iterable[str], ceilings: Ceilings) -> dict[str, float]:
    usual = ceilings.flops_per_second("float32")
    known = ((kind, ceilings.flops_per_second(kind)) for kind in kinds) if usual else ()
    return {kind: one.value / usual.value for kind, one in known if usual and one and one.high < usual.low}


def _arithmetic(work: PhaseWork, ceilings: Ceilings) -> Estimate | None:
    parts = ((flops, ceilings.flops_per_second(kind)) for kind, flops in work.flops.items())
    known = [_seconds(flops, ceiling) for flops, ceiling in parts if ceiling is not None]
    return _sum(known) if len(known) == len(work.flops) else None


def _seconds(amount: float, ceiling: Ceiling) -> Estimate:
    return Estimate(amount / ceiling.value, amount / ceiling.high, amount / ceiling.low)


def _sum(estimates: Iterable[Estimate]) -> Estimate:
    """The sum, with summed interval ends: the estimates share their ceilings, so their errors add up."""
    ends = [(one.value, one.low, one.high) for one in estimates]
    return Estimate(*(sum(end) for end in zip(*ends, strict=True))) if ends else Estimate(0.0, 0.0, 0.0)


def _over(part: Estimate, whole: Estimate) -> Estimate:
    """The ratio, with the widest interval that both allow."""
    high = part.high / whole.low if whole.low > 0 else math.inf
    return Estimate(part.value / whole.value, part.low / whole.high, high)
