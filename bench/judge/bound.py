"""What bounds each phase on a device: its own work, or the host that launches it.

The host enqueues, the device works off. Both clocks are read at each phase's end, and both start with a block, whose
beginning finds the device idle. The host's lead is how much later the device comes to a phase's end than the host. A
device that has caught up waits for the next launch: then the phase is launch-bound, and a faster kernel changes
nothing. While it still has work queued, it is device-bound, and a faster host changes nothing. The lead tells that
apart where the two laps alone cannot: a host whose queue is full waits too, and then takes as long as the device.
Of phases that repeat within a step (gradient accumulation) only sums are kept, and their leads are rough.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from loopmark.bench.judge.laps import begins_block, found_busy, phases_of

CAUGHT_UP_SECONDS, CAUGHT_UP_SHARE = 10e-6, 0.1
"""A lead of less than this, or than this share of the phase, is none: the last kernel itself takes some time, and the
reading of two clocks a few microseconds."""


@dataclass(frozen=True)
class Bound:
    """One phase of a case; medians over its steps."""

    host_seconds: float
    """To enqueue it."""
    device_seconds: float
    """On the device, waiting included."""
    lead_seconds: float
    """At its end."""
    by: Literal["launch-bound", "device-bound"]


def bounds(laps: pd.DataFrame, order: Sequence[str]) -> dict[str, Bound]:
    """What bounds each phase of one case, by name; empty where one of the clocks saw no phases.

    Args:
        laps: the case's rows of ``Samples.phases``, as they were stored. Of a block with several steps the first is
            left out: it alone begins with an idle device.
        order: the phases' names in the order in which the result has them.
    """
    host, device = laps["host_seconds"].to_numpy(), laps["device_seconds"].to_numpy()
    if not (seen := ~(np.isnan(host) | np.isnan(device))).all():
        laps, host, device = laps[seen], host[seen], device[seen]
    if laps.empty:
        return {}
    begins = np.flatnonzero(begins_block(laps))
    block = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(laps)))
    leads = np.cumsum(device - host)
    lead = leads - np.append(0.0, leads[begins[1:] - 1])[block]
    counts = found_busy(laps)
    phase, names = phases_of(laps)
    found = {}
    for i in np.flatnonzero(np.bincount(phase[counts])):
        chosen = counts & (phase == i)
        found[names[i]] = _bound(*(float(np.median(figure[chosen])) for figure in (host, device, lead)))
    return {phase: found[phase] for phase in order if phase in found}


def _bound(host: float, device: float, lead: float) -> Bound:
    caught_up = lead <= max(CAUGHT_UP_SECONDS, CAUGHT_UP_SHARE * device)
    return Bound(host, device, lead, "launch-bound" if caught_up else "device-bound")
