"""Compare a loop with eager in this process, and judge it as the trainer and the judge do."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial

from torch import Tensor

from loopmark.bench.judge.equivalence import Equivalence, equivalence
from loopmark.bench.measure.proof.comparison import Proven
from loopmark.bench.measure.proof.prove import prove
from loopmark.bench.measure.training.trainer import PROOF_STEPS
from loopmark.bench.measure.training.trials import TrainingCollector
from loopmark.bench.records.training import Proof
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.task import Task

MakeTask = Callable[[], Task]
StepFunction = Callable[[Task, Tensor, Tensor], Iterator[str]]


def proven(loop: Loop, make_task: MakeTask, steps: int = PROOF_STEPS, seed: int = 0, base: Loop = EAGER) -> Proven:
    """A worker's measurements of ``loop``, compared with ``base``."""
    now = lambda: 0.0  # noqa: E731 - all steps, even on a slow machine
    return prove(make_task(), loop, steps, seed, now, base=base, make_task=make_task)


proven_of_eager = cache(
    partial(proven, EAGER)
)  # many loops are judged on one task; eager gives the same bits each time


def judged(loop: Loop, make_task: MakeTask, steps: int = PROOF_STEPS, seed: int = 0, base: Loop = EAGER) -> Equivalence:
    """The verdict on ``loop``, with the baseline compared as well."""
    collector = TrainingCollector()
    prove_base = proven_of_eager if base is EAGER else partial(proven, base, base=base)
    for one, prove_it in ((base, prove_base), (loop, partial(proven, loop, base=base))):
        seen = prove_it(make_task, steps, seed)
        known = {name: value for name, value in vars(seen).items() if name not in ("deviations", "why_not")}
        proof = Proof("workload", one.name, repeat=False, status="ok", reason=None, **known)
        collector.add_proof(proof, seen.deviations)
    deviations = collector.samples().deviations
    eagers, own = collector.proofs
    return equivalence(own, deviations[deviations["proof"] == 1], eagers, replace(eagers, repeat=True))


def own(step: StepFunction) -> Loop:
    """A user's own step as a loop."""
    return Loop("own", step)
