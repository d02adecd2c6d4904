"""``loopmark calibrate``: comparisons whose truth is known, to learn which changes this machine can detect."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.ab import decide
from loopmark.bench.cli.invocation import INTERRUPTED, Conditions, Invocation
from loopmark.bench.cli.options import RESULTS
from loopmark.bench.errors import BadInput, NotComparable
from loopmark.bench.progress import RunProgress
from loopmark.bench.records.files import write_record, writing_to
from loopmark.bench.records.run import Plan

if TYPE_CHECKING:
    from loopmark.bench.records.comparison import Calibration, CalibrationTrial

# The number of comparisons for each planted slowdown; 0 is unchanged code.
COMPARISONS = {0.0: 60, 0.01: 30, 0.02: 30, 0.005: 10, 0.05: 10}
SOLO_SHARE = 1 / 6  # of the budget, for each of the two solo means around a comparison of unchanged code


def calibrate(
    workload: Annotated[
        str, options.value("NAME", "Train this workload. Steps of 1 to 20 ms are the most informative.")
    ] = "resnet",
    loop: Annotated[str, options.value("NAME", "Compare this loop with itself.")] = "eager",
    trials: Annotated[
        float, typer.Option(help="Make this multiple of the usual 60 + 30 + 30 + 10 + 10 comparisons.")
    ] = 1.0,
    budget: Annotated[float, typer.Option(help="Spend at most this number of seconds on each comparison.")] = 90.0,
    device: options.Device = None,
    size: options.Size = None,
    threads: options.Threads = None,
    limit: options.Limit = 300.0,
    out: Annotated[Path, options.out("<machine>/calibration-….json")] = RESULTS,
    show: Annotated[bool, typer.Option("--show", help="Show the stored calibration, and measure nothing.")] = False,
    as_json: options.JudgementJson = False,
) -> None:
    """Report which slowdowns this machine detects, and how soon. A loop is compared with itself, unchanged and slowed
    down on purpose. This takes hours. It can be stopped at any time, and the next call resumes it.

    Exit status: 0, or 2 for bad input, 130 when interrupted.
    """
    if not 0 < trials <= 100:
        raise BadInput(f"--trials {trials:g} makes no sense; give a number above 0 and up to 100")
    conditions = Conditions(device, size, threads=threads, limit_seconds=limit)
    invocation = Invocation(out, as_json, conditions, budget_seconds=budget)
    from loopmark.bench.judge.calibration import summarise_calibration
    from loopmark.bench.records.comparison import calibration_path, read_calibration
    from loopmark.bench.records.store import ignored_folder
    from loopmark.bench.report.calibration_table import calibration_as_json, print_calibration

    path = calibration_path(out / invocation.machine.name, workload, loop)
    known = read_calibration(path)
    if show:
        if known is None:
            raise BadInput(f"{path} does not exist yet; call loopmark calibrate without --show first")
        counts = {}
    else:
        anew = _begin(invocation, workload, loop)
        if known is not None and (other := "; ".join(_other_terms(known, anew))):
            raise BadInput(f"{path} was made under other conditions ({other}); restore them, or choose another --out")
        known = known or anew
        counts = {effect: max(1, round(count * trials)) for effect, count in COMPARISONS.items()}
    interrupted, began, of = False, time.perf_counter(), sum(counts.values())
    try:
        with RunProgress(invocation.console) as progress:
            for number, effect in enumerate(_next_effects([trial.effect for trial in known.trials], counts)):
                start, made = time.perf_counter(), len(known.trials)
                each = (start - began) / number if number else None
                doing = f"+{100 * effect:g} % · comparison {made + 1} of {of}"
                progress.tell(doing, made / of, each and each * (of - made), each)
                trial = _try(invocation.plan, known, effect, progress.tick)
                known = replace(known, trials=(*known.trials, trial))
                with writing_to(path):
                    ignored_folder(out, invocation.machine.name)
                write_record(path, known)
                invocation.console.note(
                    f"{len(known.trials)}/{of}  +{100 * effect:g} %: {trial.verdict} after {trial.seconds:.0f} s, "
                    f"{len(trial.logs)} launch pairs ({time.perf_counter() - start:.0f} s in all)"
                )
    except NotComparable as refusal:
        raise BadInput(str(refusal)) from None
    except KeyboardInterrupt:
        if not known.trials:
            raise
        interrupted = True
    summary = summarise_calibration(known)
    if as_json:
        print(calibration_as_json(summary))
    else:
        print_calibration(summary)
        invocation.console.note(f"Kept in {path}")
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _next_effects(made: list[float], counts: dict[float, int]) -> Iterator[float]:
    """The effects still to try, the one furthest behind its share first, so that all have trials at any stop."""
    made = [*made]
    while open_ := [effect for effect, count in counts.items() if made.count(effect) < count]:
        effect = min(open_, key=lambda e: made.count(e) / counts[e])
        yield effect
        made.append(effect)


def _other_terms(known: "Calibration", anew: "Calibration") -> Iterator[str]:
    """Each condition in which new trials would differ from the known ones, in a few words."""
    from loopmark.bench.judge.differences import environment_differences

    for name in ("workload", "loop", "device", "size", "budget_seconds", "false_alarms", "margin", "method"):
        then, now = getattr(known, name), getattr(anew, name)
        if then != now:
            yield f"{name.replace('_', ' ')} {then} → {now}"
    before = known.environment
    same_revision = replace(anew.environment, revision=before.revision, repository=before.repository)
    yield from environment_differences(before, same_revision)  # only another method matters


def _try(plan: Plan, known: "Calibration", effect: float, tick: Callable[[], None]) -> "CalibrationTrial":
    """One comparison with ``effect`` planted. Unchanged code gets a solo mean of each side, before and after it."""
    from loopmark.bench.judge.sequential_comparison import DecisionRules
    from loopmark.bench.measure.sides import SideOptions, prepare_comparison
    from loopmark.bench.records.comparison import CalibrationTrial

    workload, loop = known.workload, known.loop
    solo_seconds = known.solo_seconds if effect == 0 else 0.0
    with (
        prepare_comparison(SideOptions(), SideOptions(), plan, workload=workload, loop=loop, slowdown=effect) as sides,
        sides.measurement(plan) as measurement,
    ):
        measurement.tick = tick
        stored = measurement.solo(head=False, seconds=solo_seconds) if effect == 0 else None
        decision = decide(measurement, plan.budget_seconds, DecisionRules(), least_seconds=2 * solo_seconds)
        if decision.interrupted or decision.sequential is None:
            raise KeyboardInterrupt
        later = measurement.solo(head=True, seconds=solo_seconds) if effect == 0 else None
    step = decision.findings[0]
    return CalibrationTrial(
        effect=effect,
        verdict=step.verdict,
        regression=any(finding.decides and finding.verdict == "slower" for finding in decision.findings),
        seconds=decision.seconds,
        step_seconds=step.base or 0.0,
        logs=decision.sequential.step_logs,
        uncertainties=decision.sequential.step_uncertainties,
        ended_seconds=tuple(one.pair.ended_seconds for one in decision.measured),
        stored_mean_seconds=stored,
        later_mean_seconds=later,
    )


def _begin(invocation: Invocation, workload: str, loop: str) -> "Calibration":
    from loopmark.bench.judge.sequential_comparison import METHOD, DecisionRules
    from loopmark.bench.records.comparison import Calibration

    plan, rules = invocation.plan, DecisionRules()
    return Calibration(
        started=invocation.started.isoformat(timespec="seconds"),
        machine=invocation.machine,
        environment=invocation.facts.environment,
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
