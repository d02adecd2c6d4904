"""Judgements without measurements, for tests of reporting them."""

import math

from loopmark.bench.judge.finding import Finding, Judgement
from loopmark.bench.judge.statistics import Estimate


def finding(loop: str = "compile", verdict: str = "same", **changes: object) -> Finding:
    """A finding with a plain figure for its verdict."""
    change = {
        "slower": Estimate(1.2, 1.15, 1.25),
        "faster": Estimate(0.8, 0.75, 0.85),
        "same": Estimate(1.0, 0.99, 1.01),
        "inconclusive": Estimate(1.03, 0.0, math.inf),
    }[verdict]
    given = dict(
        workload="resnet", loop=loop, metric="step / eager", unit="ratio", base=0.8, head=0.8 * change.value,
        change=change, verdict=verdict, threshold=0.05, decides=True,
    )  # fmt: skip
    return Finding(**{**given, **changes})  # type: ignore[arg-type]


def judgement(*findings: Finding, **changes: object) -> Judgement:
    """A judgement of ``findings``."""
    given = dict(command="check", base="20260101-000000", head="20260102-000000", findings=findings, false_alarms=0.01)
    return Judgement(**{**given, **changes})  # type: ignore[arg-type]


BROKEN = finding("amp", "slower", metric="step", unit="seconds", base=0.01, head=None, change=None, note="it failed")
NOT_SLOWER = finding("tf32", "inconclusive", change=Estimate(0.97, 0.9, 1.02))
EVERYTHING = judgement(
    finding("eager", metric="step", unit="seconds", base=0.0053, head=0.0053), finding("compile", "slower"), BROKEN,
    finding("cuda_graph", "faster"), finding("checkpoint", "inconclusive", note="one launch says nothing"), NOT_SLOWER,
    finding("compile", "slower", metric="forward", unit="seconds", base=0.001, head=0.0012, decides=False),
    finding("compile", metric="backward", unit="seconds", base=0.001, head=0.001, decides=False),
    finding("compile", metric="peak memory", unit="bytes", base=500 * 2**20, head=500 * 2**20),
    facts=("same machine",), differences=("torch 2.12.0 → 2.13.0",), warnings=("the run was interrupted",),
)  # fmt: skip
REFUSED = judgement(refusal="different batch sizes, 64 in the baseline and 32 in the run (resnet eager)")
