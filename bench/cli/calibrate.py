"""``loopmark calibrate``: comparisons whose truth is known, to learn what this machine can see."""

import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopmark.bench.cli.options import DeviceOption, LimitOption, SizeOption, ThreadsOption
from loopmark.bench.cli.status import INTERRUPTED
from loopmark.bench.cli.tell import JsonOption, refuse_unwritable_folder
from loopmark.bench.errors import BadInput, NotComparable

if TYPE_CHECKING:
    from loopmark.bench.records.comparison import Calibration, CalibrationTrial
    from loopmark.bench.records.machine import Environment, Machine
    from loopmark.bench.records.run import Plan

WANTED = {0.0: 60, 0.01: 30, 0.02: 30, 0.005: 10, 0.05: 10}
"""How many comparisons are made of each planted slowdown, 0 being unchanged code."""
SOLO_SHARE = 1 / 6
"""Of the budget: how long each of the two solitary means is measured around a comparison of unchanged code."""


def calibrate(
    workload: Annotated[str, typer.Option(metavar="NAME", help="What is trained; steps of 1 to 20 ms say most.")] = (
        "resnet"
    ),
    loop: Annotated[str, typer.Option(metavar="NAME", help="The loop that is compared with itself.")] = "eager",
    trials: Annotated[
        float, typer.Option(help="How many comparisons to make, as a multiple of the usual 60 + 30 + 30 + 10 + 10.")
    ] = 1.0,
    budget: Annotated[float, typer.Option(help="Seconds of each comparison, at most.")] = 90.0,
    device: DeviceOption = None,
    size: SizeOption = None,
    threads: ThreadsOption = None,
    limit: LimitOption = 300.0,
    out: Annotated[Path, typer.Option(help="The folder that gets <machine>/calibration-….json.")] = Path("results"),
    show: Annotated[bool, typer.Option("--show", help="Measure nothing: show what is stored.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare a loop with itself, unchanged and slowed down on purpose, and tell what was found and how soon.

    It takes hours, can be stopped at any time, and goes on where it was when it is called again.
    Exit status: 0, or 2 for bad input, 130 when interrupted.
    """
    from loopmark.bench.progress import stderr_console

    refuse_unwritable_folder(out)
    if not 0 < trials <= 100:
        raise BadInput(f"--trials {trials:g} makes no sense; give a number above 0 and up to 100")
    console = stderr_console()
    from loopmark.bench.judge.calibration import summarise_calibration
    from loopmark.bench.measure.launcher import apart
    from loopmark.bench.measure.machine import available_cores, describe_environment, describe_machine
    from loopmark.bench.measure.plan import PlanOptions, make_plan
    from loopmark.bench.records.comparison import calibration_path, read_calibration
    from loopmark.bench.records.files import write_record
    from loopmark.bench.report.calibration_table import as_json as to_json
    from loopmark.bench.report.calibration_table import print_calibration

    plan = make_plan(
        PlanOptions(
            command=["loopmark", *sys.argv[1:]],
            device=device,
            size=size,
            budget_seconds=budget,
            threads=threads,
            limit_seconds=limit,
        )
    )
    machine = apart(describe_machine, plan.device)
    path = calibration_path(out / machine.name, workload, loop)
    known = read_calibration(path)
    if known is None and show:
        raise BadInput(f"{path} is not there yet; call loopmark calibrate without --show")
    if not show:
        environment = describe_environment(plan.threads, available_cores()[: plan.threads])
        anew = _begin(plan, machine, environment, workload, loop)
        if known is None:
            known = anew
        elif other := list(_other_terms(known, anew)):
            raise BadInput(f"{path} was made otherwise ({'; '.join(other)}); do as then, or give another --out")
    assert known is not None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    interrupted = False
    wanted = {} if show else {effect: max(1, round(count * trials)) for effect, count in WANTED.items()}
    try:
        for effect in _next_effects([trial.effect for trial in known.trials], wanted):
            start = time.perf_counter()
            known = known.with_trial(_try(plan, known, effect))
            trial = known.trials[-1]
            write_record(path, known)
            console.print(
                f"{len(known.trials)}/{sum(wanted.values())}  +{100 * effect:g} %: {trial.verdict} after "
                f"{trial.seconds:.0f} s, {len(trial.logs)} launch pairs ({time.perf_counter() - start:.0f} s in all)",
                markup=False,
                highlight=False,
            )
    except NotComparable as refusal:
        raise BadInput(str(refusal)) from None
    except KeyboardInterrupt:
        if not known.trials:
            raise
        interrupted = True
    summary = summarise_calibration(known)
    if as_json:
        print(to_json(summary))
    else:
        print_calibration(summary)
        console.print(f"Kept in {path}", markup=False, highlight=False, soft_wrap=True)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _next_effects(made: list[float], wanted: dict[float, int]) -> Iterator[float]:
    """The effects still to try, the one that lags most behind its share first: when it is stopped, all have some."""
    made = list(made)
    while open_ := [effect for effect, count in wanted.items() if made.count(effect) < count]:
        effect = min(open_, key=lambda e: made.count(e) / wanted[e])
        yield effect
        made.append(effect)


def _other_terms(known: "Calibration", anew: "Calibration") -> Iterator[str]:
    """In what trials made now would differ from those that are known, a few words each."""
    from loopmark.bench.judge.differences import environment_differences

    for name in ("workload", "loop", "device", "size", "budget_seconds", "false_alarms", "margin", "method"):
        then, now = getattr(known, name), getattr(anew, name)
        if then != now:
            yield f"{name.replace('_', ' ')} {then} → {now}"
    same_revision = replace(anew.environment, revision=known.environment.revision)  # another method is what counts
    yield from environment_differences(known.environment, same_revision)


def _try(plan: "Plan", known: "Calibration", effect: float) -> "CalibrationTrial":
    """One comparison with ``effect`` planted; around one of unchanged code, the means that others would compare."""
    from loopmark.bench.cli.hold import hold
    from loopmark.bench.judge.sequential_comparison import DecisionRules
    from loopmark.bench.measure.sides import SideOptions, prepare_comparison
    from loopmark.bench.records.comparison import CalibrationTrial

    workload, loop, solo_seconds = known.workload, known.loop, known.solo_seconds
    with (
        prepare_comparison(SideOptions(), SideOptions(), plan, workload=workload, loop=loop, slowdown=effect) as sides,
        sides.measurement(plan) as measurement,
    ):
        stored = measurement.solo(head=False, seconds=solo_seconds) if effect == 0 else None
        held = hold(
            measurement, plan.budget_seconds, DecisionRules(), least_seconds=2 * solo_seconds if effect == 0 else 0.0
        )
        if held.interrupted or held.sequential is None:
            raise KeyboardInterrupt
        later = measurement.solo(head=True, seconds=solo_seconds) if effect == 0 else None
    step = held.findings[0]
    return CalibrationTrial(
        effect=effect,
        verdict=step.verdict,
        regression=any(finding.decides and finding.verdict == "slower" for finding in held.findings),
        seconds=held.seconds,
        step_seconds=step.base or 0.0,
        logs=held.sequential.step_logs,
        uncertainties=held.sequential.step_uncertainties,
        ended_seconds=tuple(one.pair.ended_seconds for one in held.measured),
        stored_mean_seconds=stored,
        later_mean_seconds=later,
    )


def _begin(plan: "Plan", machine: "Machine", environment: "Environment", workload: str, loop: str) -> "Calibration":
    from datetime import UTC, datetime

    from loopmark.bench.judge.sequential_comparison import METHOD, DecisionRules
    from loopmark.bench.records.comparison import Calibration

    rules = DecisionRules()
    return Calibration(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine,
        environment=environment,
        device=plan.device,
        workload=workload,
        loop=loop,
        size=plan.size,
        false_alarms=rules.false_alarms,
        margin=rules.margin,
        method=METHOD,
        budget_seconds=plan.budget_seconds,
        solo_seconds=SOLO_SHARE * plan.budget_seconds,
        trials=(),
    )
