"""Which of a processor's instructions a run used: a hypervisor may call all processors of a maker by one name."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from loopmark.bench.records.run import Run


@dataclass(frozen=True, kw_only=True)
class Instructed:
    """What has to be one and the same for two runs to compare, the instructions among it."""

    instructions: str | None
    """Of a CPU; None where they are not known."""


T = TypeVar("T", bound=Instructed)


def instructions_of(run: Run) -> str | None:
    """``AVX2`` or ``AVX512``, say, as torch calls them; None of another device than a CPU, or where not known."""
    return run.environment.cpu_capability if run.plan.device == "cpu" else None


def fill(told: Iterable[T]) -> dict[T, T]:
    """Each with its instructions; what does not know its own takes those of the only ones that are otherwise alike."""
    distinct = list(dict.fromkeys(told))
    known: dict[T, set[T]] = {}
    for one in (one for one in distinct if one.instructions is not None):
        known.setdefault(replace(one, instructions=None), set()).add(one)
    like = {one: known.get(one, set()) for one in distinct}  # of what knows its own, nothing
    return {one: next(iter(others)) if len(others) == 1 else one for one, others in like.items()}
