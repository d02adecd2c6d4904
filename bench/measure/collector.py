"""Gathers what the workers tell, and lays it out as the tables that a run keeps."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from loopmark.bench.measure.answers import Turn, Warm
from loopmark.bench.measure.clock import Block, LappedBlock
from loopmark.bench.measure.disturbance import Disturbance
from loopmark.bench.records.samples import COLUMNS, TABLES, Samples, typed

LaunchKey = tuple[int, int]
"""The case's index and the launch's."""
_BlockKey = tuple[int, int, int]
"""Round, number within it, first step."""


class Collector:
    """What every launch of every case has told so far."""

    def __init__(self) -> None:
        self._warm: dict[LaunchKey, Warm] = {}
        self._blocks: dict[LaunchKey, list[tuple[_BlockKey, Block, Disturbance]]] = {}

    def add_warm_up(self, key: LaunchKey, warm: Warm) -> None:
        """A launch has been warmed up."""
        self._warm[key] = warm

    def add_turn(self, key: LaunchKey, round_: int, turn: Turn) -> None:
        """A launch has taken a turn."""
        rows = self._blocks.setdefault(key, [])
        before = sum(place[0] == round_ for place, _, _ in rows)  # of a turn that is taken again
        for number, (first_step, block, disturbance) in enumerate(turn.blocks, start=before):
            rows.append(((round_, number, first_step), block, disturbance))

    def turns(self, key: LaunchKey) -> int:
        """How many turns a launch has taken."""
        return len({place[0] for place, _, _ in self._blocks.get(key, [])})

    def drop(self, key: LaunchKey) -> None:
        """Forget a launch that did not end well."""
        self._warm.pop(key, None)
        self._blocks.pop(key, None)

    def samples(self) -> Samples:
        """Everything gathered so far, as tables."""
        frames = {
            "warmup": pd.DataFrame(self._warm_up_rows()),
            "losses": _stacked(self._loss_frames()),
            "blocks": pd.DataFrame(self._block_rows()),
            "phases": _stacked(self._phase_frames()),
        }
        empty = Samples.empty()
        return Samples(**{n: typed(COLUMNS[n], frames[n]) if len(frames[n]) else getattr(empty, n) for n in TABLES})

    def _warm_up_rows(self) -> list[dict[str, float]]:
        return [
            {"case": case, "launch": launch, "step": step, "seconds": seconds}
            for (case, launch), warm in self._warm.items()
            for step, seconds in enumerate(warm.warm_up.seconds)
        ]

    def _loss_frames(self) -> Iterable[pd.DataFrame]:
        for (case, launch), warm in self._warm.items():
            yield _losses(case, launch, 0, warm.losses)
        for (case, launch), rows in self._blocks.items():
            for (_, _, first_step), block, _ in rows:
                if isinstance(block, LappedBlock):
                    yield _losses(case, launch, first_step - block.lead_in, block.losses)

    def _block_rows(self) -> list[dict[str, object]]:
        return [
            {
                "case": case,
                "launch": launch,
                "round": round_,
                "block": number,
                "lapped": isinstance(block, LappedBlock),
                "first_step": first_step,
                "steps": block.steps,
                "host_seconds": block.host_seconds,
                "device_seconds": block.device_seconds,
                "involuntary_switches": disturbance.involuntary_switches,
                "steal_seconds": disturbance.steal_seconds,
                "sm_clock_hertz": disturbance.sm_clock_hertz,
                "throttle_reasons": disturbance.throttle_reasons,
                "foreign_processes": disturbance.foreign_processes,
            }
            for (case, launch), rows in self._blocks.items()
            for (round_, number, first_step), block, disturbance in rows
        ]

    def _phase_frames(self) -> Iterable[pd.DataFrame]:
        for (case, launch), rows in self._blocks.items():
            for (round_, number, first_step), block, _ in rows:
                if not isinstance(block, LappedBlock) or not block.phases:
                    continue
                count, taken = len(block.phases), block.lead_in + block.steps
                yield pd.DataFrame(
                    {
                        "case": case,
                        "launch": launch,
                        "round": round_,
                        "block": number,
                        "step": np.repeat(np.arange(first_step - block.lead_in, first_step + block.steps), count),
                        "phase": list(block.phases) * taken,
                        "host_seconds": block.host.ravel(),
                        "device_seconds": block.device.ravel(),
                    }
                )


def _losses(case: int, launch: int, first_step: int, losses: Iterable[float]) -> pd.DataFrame:
    values = [loss if math.isfinite(loss) else float("nan") for loss in losses]
    steps = np.arange(first_step, first_step + len(values))
    return pd.DataFrame({"case": case, "launch": launch, "step": steps, "loss": values})


def _stacked(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(kept, ignore_index=True) if (kept := list(frames)) else pd.DataFrame()
