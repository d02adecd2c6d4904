"""Failures that several loops share: foretold after two, and told once where nothing was measured."""

from collections.abc import Iterable

from loopmark.bench.records.batch_sizes import BatchCase
from loopmark.bench.records.footprint import FootprintCase
from loopmark.bench.records.run import Case
from loopmark.loops.loop import EAGER

Ended = Case | BatchCase | FootprintCase


def foretold(case: Ended, cases: Iterable[Ended]) -> str | None:
    """The reason why ``case`` would fail, known from others of ``cases``; None if it has to be tried.

    It would once its step has failed by itself, and with a technique at the same place.
    """
    failed = [one for one in cases if one.workload == case.workload and one.status == "failed"]
    step = _step(case)
    plain = next((one.reason or "" for one in failed if one.loop == step), None)
    others = (one for one in failed if one.loop != step and _step(one) == step)
    return plain if plain is not None and any(_place(one.reason or "") == _place(plain) for one in others) else None


def nothing_measured(cases: Iterable[Ended]) -> str:
    """The sentence for a command that measured none of ``cases``, with each reason once."""
    every = list(cases)
    ended = [case for case in every if case.status != "skipped"] or every
    reasons: dict[tuple[str, str], list[str]] = {}
    for case in ended:
        reasons.setdefault((case.workload, case.reason or case.status), []).append(case.loop)
    told = []
    for (workload, reason), loops in reasons.items():
        is_all = len(loops) == sum(case.workload == workload for case in ended)
        told.append(f"{workload}, {'every loop' if is_all else ', '.join(dict.fromkeys(loops))}: {reason}")
    return f"nothing was measured: {'; '.join(told)}"


def _place(reason: str) -> str:
    return reason.partition(": ")[0]


def _step(case: Ended) -> str:
    """The step that the loop's techniques change: the user's own or the canonical one."""
    own, *_ = case.loop.split("+")
    return own if ":" in own else EAGER.name
