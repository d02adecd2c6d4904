"""Decide if a loop trains the model that the baseline trains, by comparing its steps with the baseline's."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.records.training import Proof

EquivalenceVerdict = Literal["same", "within rounding", "departs"]

ROOM = 4.0
"""The allowed multiple of the observed rounding error; two bits. On Loopmark's small workloads on a CPU, correct loops
had at most 1.9, others (batch normalisation over parts of a batch, statistics updated twice) at least 15."""
FEW = 5  # a slow machine compares fewer steps than this, in the time that it has
LEAST = 2.0**-23  # relative; a smaller difference is below float32's precision, even if every reference is exact


@dataclass(frozen=True)
class Departure:
    """One layer's error in one step, with the error that rounding explains."""

    step: int
    kind: str  # `loss`, `gradient`, `update` or `buffer`
    layer: str
    error: float  # relative to the exact result, like `allowed`
    allowed: float  # the error that rounding explains, times `ROOM`

    @property
    def share(self) -> float:
        """The error over the allowed one; the loop departs if it exceeds 1."""
        return self.error / self.allowed if math.isfinite(self.allowed) else 0.0


@dataclass(frozen=True)
class Equivalence:
    """The verdict on one case; None, with the reason, if nothing could be compared."""

    verdict: EquivalenceVerdict | None
    proof: Proof
    why_not: str | None = None
    first: Departure | None = None  # the first that departs; None if none does
    furthest: Departure | None = None  # nearest to its bound; None if all bits are equal, or something departs

    @property
    def why_not_briefly(self) -> str:
        """The reason in a few words: up to its colon, or the status of a comparison that did not end well."""
        ended = self.proof.status.replace("_", " ")
        return ended if ended != "ok" else (self.why_not or "").partition(": ")[0]


def equivalence(proof: Proof, deviations: pd.DataFrame, base: Proof | None, again: Proof | None = None) -> Equivalence:
    """The verdict on one case.

    ``same``: loss, gradients, parameters and buffers equal the baseline's to the last bit in each step, and at the end
    those of the process that trained ``base``, which is None for the baseline itself. ``within rounding``: no error
    exceeds ``ROOM`` times the observed rounding error of the baseline. ``departs``: all else. A single gradient may err
    as much as under coarse rounding, since it jumps if an activation falls on the other side of a kink; so gradients
    are judged by the median over their steps, against the medians of the baseline and of rounding. A loop that
    differs has no verdict if the model draws random numbers, since it may have drawn different ones. ``again`` is the
    baseline's proof in another process, which shows if it is reproducible.
    """
    if proof.status != "ok" or proof.reason:
        return Equivalence(None, proof, why_not=proof.reason or proof.status)
    if proof.lost_at_step is not None:
        if base is None or base.lost_at_step is not None:
            return Equivalence(None, proof, why_not=f"baseline not finite: {(base or proof).loop} itself lost its loss")
        return Equivalence("departs", proof)
    if not proof.steps:
        return Equivalence(None, proof, why_not="every step skipped: by its gradient scaler")
    if proof.same_steps == proof.steps and deviations.empty:
        return _of_same_steps(proof, base, again)
    found = _departures(deviations, proof.steps)
    departing = [one for one in found if one.share > 1]
    if departing and proof.draws_at_random and not proof.causes:
        why = "random numbers: its model draws them, and the loop may have drawn others"
        return Equivalence(None, proof, why_not=why)
    if departing:
        return Equivalence("departs", proof, first=min(departing, key=lambda one: one.step))
    # An update rounds like the baseline's if the optimizer is the same, so its error says nothing about the loop.
    telling = [one for one in found if one.kind != "update"] or found
    return Equivalence("within rounding", proof, furthest=max(telling, key=lambda one: one.share, default=None))


def _of_same_steps(proof: Proof, baseline: Proof | None, again: Proof | None) -> Equivalence:
    """The verdict if each step equals the baseline's from the same state, by comparing the final states as well."""
    if baseline is None or baseline.sha256 in (None, proof.sha256):
        return Equivalence("same", proof)
    repeats = again is not None and again.status == "ok" and again.sha256 == baseline.sha256
    # If the baseline ends equally in two processes and this loop does not, the loop had other inputs.
    return Equivalence("departs" if repeats and not proof.skipped_steps else "within rounding", proof)


Floats = NDArray[np.float64]


class _Rows(NamedTuple):
    """One layer's deviations, as columns: a proof has hundreds of layers, with a few rows each."""

    step: Floats
    error: Floats
    eager_error: Floats
    rounding_error: Floats
    coarse_error: Floats


def _departures(deviations: pd.DataFrame, steps: int) -> list[Departure]:
    """Each layer's furthest departure, in the order in which a step's deviations arise."""
    found: list[Departure] = []
    for kind, layer, rows in _by_layer(deviations):
        known = [rows.eager_error, rows.rounding_error]
        if kind == "gradient":
            found.append(_typical(rows, steps, kind, layer, _allowed(np.median, known)))
            known.append(rows.coarse_error)
        allowed = _allowed(np.max, known)
        beyond = np.flatnonzero(rows.error > allowed)
        place = beyond[0] if len(beyond) else rows.error.argmax()  # the first step beyond it, or else the furthest one
        found.append(Departure(int(rows.step[place]), kind, layer, float(rows.error[place]), allowed))
    return found


def _by_layer(deviations: pd.DataFrame) -> Iterator[tuple[str, str, _Rows]]:
    columns = {name: deviations[name].to_numpy(dtype=float) for name in _Rows._fields}
    columns["error"] = np.where(np.isnan(columns["error"]), math.inf, columns["error"])
    kinds, layers = (deviations[name].to_numpy() for name in ("kind", "layer"))
    numbers = deviations.groupby(["kind", "layer"], sort=False).ngroup().to_numpy()
    order = np.argsort(numbers, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else ():
        first = places[0]
        yield str(kinds[first]), str(layers[first]), _Rows(*(columns[name][places] for name in _Rows._fields))


def _allowed(statistic: Callable[[Floats], np.floating[Any]], errors: Sequence[Floats]) -> float:
    """The allowed error, from a statistic of each known error; infinite if rounding changes an exact zero."""
    known = [column[~np.isnan(column)] for column in errors]
    return max([LEAST, *(ROOM * float(statistic(column)) for column in known if len(column))])


def _typical(rows: _Rows, steps: int, kind: str, layer: str, allowed: float) -> Departure:
    """The upper median of the error over all steps, at the first step to reach it; steps without a row are exact.

    Fewer steps than ``FEW`` have the lower median, since one of two, or two of four, may jump over a kink by chance.
    """
    errors, exact = np.sort(rows.error), max(0, steps - len(rows.error))
    middle = (exact + len(errors) - (steps < FEW)) // 2
    error = 0.0 if middle < exact else float(errors[middle - exact])
    step = rows.step[rows.error >= error].min() if error else rows.step.min()
    return Departure(int(step), kind, layer, error, allowed)
