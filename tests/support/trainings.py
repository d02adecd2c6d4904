"""Trainings that never took place, with a known truth, for tests of judging and drawing them."""

import math
from dataclasses import dataclass, field

from loopmark.bench.records.run import Status
from loopmark.bench.records.samples import table
from loopmark.bench.records.training import (
    COLUMNS,
    Divergence,
    Ending,
    Proof,
    Target,
    Training,
    TrainingSamples,
    Trial,
    Until,
)
from tests.support.synthetic import environment, machine, plan

ACCURACY = Target("accuracy", 0.9, higher_is_better=True)
EPOCH = 20
"""Steps per epoch."""


@dataclass(frozen=True)
class Taught:
    """The true properties of one case."""

    loop: str
    status: Status = "ok"
    reason: str | None = None
    error: float = 0.0
    """Relative error of its gradients; float32 rounding gives 1e-6, and 0 means equal to eager bit by bit."""
    layer: str = "body.weight"
    causes: tuple[str, ...] = ()
    bits: int = 24
    epochs_to_target: int = 3
    step_seconds: float = 0.01
    start_seconds: float = 0.05
    """The first step's time beyond a later one's."""
    compile_seconds: float = 0.0
    ending: Ending = "reached the target"
    diverged_at_step: int | None = None
    divergence: Divergence | None = None
    skipped_steps: int | None = None
    joules_a_step: float = math.nan
    qualities: tuple[float, ...] = field(default=())
    """The quality after each epoch; if empty, it rises to the target."""


def make_training(
    taught: list[Taught],
    workloads: tuple[str, ...] = ("resnet",),
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    target: Target | None = ACCURACY,
    until: Until = "target",
    baseline: str = "eager",
) -> tuple[Training, TrainingSamples]:
    """A training of ``taught`` on every workload; each seed takes one epoch more than the previous one."""
    proofs: list[Proof] = []
    trials: list[Trial] = []
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in COLUMNS}
    for workload in workloads:
        for one in taught:
            for repeat in (False, True) if one.loop == baseline else (False,):
                rows["deviations"] += _deviations(one, len(proofs))
                proofs.append(_proof(workload, one, repeat))
        for seed in seeds if target else ():
            for one in taught:
                trials.append(_trial(workload, one, seed, target or ACCURACY, len(trials), rows))
    training = Training(
        name="20260101-000000",
        started="2026-01-01T00:00:00+00:00",
        seconds=10.0,
        interrupted=False,
        plan=plan(workloads, tuple(one.loop for one in taught), baseline=baseline),
        seeds=seeds,
        until=until,
        budget_seconds=10.0,
        machine=machine(),
        environment=environment(),
        targets=dict.fromkeys(workloads, target) if target else {},
        proofs=tuple(proofs),
        trials=tuple(trials),
    )
    return training, TrainingSamples(**{name: table(COLUMNS[name], rows[name]) for name in COLUMNS})


def _proof(workload: str, one: Taught, repeat: bool) -> Proof:
    if one.status != "ok":
        return Proof(workload, one.loop, repeat, one.status, one.reason)
    if one.reason is not None:
        return Proof(workload, one.loop, repeat, "ok", one.reason)
    same = 0 if one.error else 8
    return Proof(
        workload, one.loop, repeat, "ok", None, 8, same, 0, one.bits, False, None, "ab" * 32, causes=one.causes
    )


def _deviations(one: Taught, proof: int) -> list[dict[str, object]]:
    if not one.error or one.status != "ok":
        return []
    rounding = 2.0**-one.bits * 16
    return [
        {
            "proof": proof,
            "step": step,
            "kind": kind,
            "layer": layer,
            "error": error,
            "eager_error": 2.0**-24,
            "rounding_error": rounding,
            "coarse_error": 2.0**-4,
        }
        for step in range(8)
        for kind, layer, error in (
            ("loss", "", 2.0**-25),
            ("gradient", "head.weight", 2.0**-25),
            ("gradient", one.layer, one.error),
            ("update", one.layer, 2.0**-25),
        )
    ]


def _trial(
    workload: str, one: Taught, seed: int, target: Target, index: int, rows: dict[str, list[dict[str, object]]]
) -> Trial:
    trial = Trial(workload, one.loop, seed, one.status, one.reason)
    if one.status != "ok":
        return trial
    epochs = len(one.qualities) or one.epochs_to_target + seed
    rise = [0.1 + (target.value - 0.1) * min(1.0, n / epochs) for n in range(1, epochs + 1)]
    qualities = one.qualities or tuple(rise)
    seconds = 0.0
    rows["evaluations"].append(_evaluation(index, 0, 0.0, 0.0, 0.1))
    for epoch, quality in enumerate(qualities, start=1):
        seconds += EPOCH * one.step_seconds + (one.start_seconds if epoch == 1 else 0.0)
        joules = EPOCH * epoch * one.joules_a_step
        rows["evaluations"].append(_evaluation(index, epoch * EPOCH, seconds, joules, quality))
    for step in range(EPOCH * len(qualities)):
        lost = one.diverged_at_step is not None and step >= one.diverged_at_step
        rows["training_losses"].append(
            {"trial": index, "step": step, "loss": math.nan if lost else 2.3 / (1 + step / 20)}
        )
    return Trial(
        workload=workload,
        loop=one.loop,
        seed=seed,
        status="ok",
        reason=None,
        setup_seconds=0.02,
        first_steps_seconds=(one.step_seconds + one.start_seconds, *[one.step_seconds] * 4),
        compile_seconds=one.compile_seconds,
        compile_cache=("cold" if seed == 0 else "warm") if one.compile_seconds else "none",
        steps=EPOCH * len(qualities),
        steps_per_epoch=EPOCH,
        ending=one.ending,
        converged_at_step=EPOCH * len(qualities) if one.ending == "converged" else None,
        diverged_at_step=one.diverged_at_step,
        divergence=one.divergence,
        skipped_steps=one.skipped_steps,
        final_scale=None if one.skipped_steps is None else 65536.0,
    )


def _evaluation(trial: int, step: int, seconds: float, joules: float, quality: float) -> dict[str, object]:
    return {"trial": trial, "step": step, "seconds": seconds, "joules": joules, "quality": quality}
