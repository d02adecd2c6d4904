"""Machines that were never measured, side by side: the test gives each loop's result on each machine."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from loopmark.bench.judge.run_comparison import JudgedRun
from loopmark.bench.judge.side_by_side import (
    ComparedRun,
    FoundRun,
    SideBySide,
    WorkloadComparison,
    compare_workloads,
    estimate_phases,
    machine_names,
)
from loopmark.bench.judge.summary import summarise
from loopmark.bench.judge.training import TrainingSummary, summarise_training
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from tests.support.synthetic import Truth, ceilings, machine, make_run
from tests.support.trainings import Taught, make_training

CPUS = (
    "AMD EPYC 7763", "Intel Xeon Platinum 8480C", "Apple M3", "A Processor with a Very Long and Winding Name Indeed",
    "NVIDIA H100 80GB HBM3", "Ampere Altra Max", "Intel Core i9", "AMD Ryzen 9 7950X3D",
)  # fmt: skip


def on(cpu: str, run: Run) -> Run:
    """``run`` as if made on a machine with that processor."""
    return replace(run, machine=replace(machine(), cpu=cpu))


def entrant(
    run: Run,
    samples: Samples,
    name: str | None = None,
    *,
    with_ceilings: bool = False,
    trained: TrainingSummary | None = None,
) -> ComparedRun:
    """One run, judged."""
    summary = summarise(run, samples, trained, ceilings() if with_ceilings else None)
    found = FoundRun("results/a/b", run, datetime(2026, 1, 1, tzinfo=UTC))
    judged = JudgedRun.of(run, samples, summary)
    return ComparedRun(name or machine_names([run])[0], found, summary, judged, estimate_phases(run, samples))


def everything(entrants: Sequence[ComparedRun]) -> tuple[WorkloadComparison, ...]:
    """Every workload and loop of these runs."""
    return compare_workloads(entrants, lambda _: True, lambda _: True)


def side_by_side(
    seconds: Mapping[str, Sequence[float | None]],
    machines: int,
    *,
    eager: Sequence[float] = (0.010,),
    quiet: bool = True,
    sizes: Sequence[str] = ("small",),
    launches: int = 2,
    trained: Sequence[bool] = (True,),
    departing: Sequence[str] = (),
) -> SideBySide:
    """Machines on which each loop takes its given seconds a step; None where it was skipped.

    Args:
        eager: eager's seconds a step on each machine, in turn.
        quiet: True if hardly anything disturbs the steps.
        sizes: the workload's size on each machine, in turn.
        launches: launches per loop.
        trained: True if the loops' training was checked, for each machine in turn.
        departing: loops that do not train like eager.
    """
    taught = [Taught(loop, error=0.3 if loop in departing else 0.0) for loop in ("eager", *seconds)]
    training = summarise_training(*make_training(taught, target=None))
    runs = []
    for number in range(machines):
        base = eager[number % len(eager)]
        truths = [Truth("eager", base), Truth("eager", base, repeat=True)]
        for loop, own in seconds.items():
            value = own[number % len(own)]
            skipped = Truth(loop, status="skipped", reason="it needs a CUDA device; this machine has none")
            truths.append(skipped if value is None else Truth(loop, value))
        noise = dict(launch_noise=0.0005, block_noise=0.001, drift=0.0) if quiet else {}
        run, samples = make_run(truths, launches=launches, rounds=2, steps=1, seed=number, **noise)
        run = replace(run, plan=replace(run.plan, size=sizes[number % len(sizes)]))
        runs.append((on(CPUS[number], run), samples))
    names = machine_names([run for run, _ in runs])
    judged = tuple(
        entrant(*run, name, with_ceilings=True, trained=training if trained[i % len(trained)] else None)
        for i, (run, name) in enumerate(zip(runs, names, strict=True))
    )
    return SideBySide(judged, everything(judged), is_over_time=False)
