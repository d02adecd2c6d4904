"""``loopmark ab``: two sides in turns, until the verdict is sure."""

import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.check import show_judgement
from loopmark.bench.cli.invocation import Conditions, Invocation, refuse_unwritable
from loopmark.bench.cli.options import REFERENCE, RESULTS
from loopmark.bench.errors import NotComparable
from loopmark.bench.progress import RunProgress

if TYPE_CHECKING:
    from loopmark.bench.judge.finding import Finding
    from loopmark.bench.judge.sequential_comparison import DecisionRules, SequentialComparison
    from loopmark.bench.measure.paired_measurement import Measured, PairedMeasurement
    from loopmark.bench.measure.sides import PreparedComparison
    from loopmark.bench.records.comparison import Comparison


def ab(
    base: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="loop=, workload=, rev= (a git revision), python= (an interpreter), env=NAME=value; repeated, or "
            "several with commas.",
        ),
    ] = None,
    head: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="The other side, likewise.")] = None,
    workload: Annotated[str | None, typer.Option(metavar="NAME", help="Of both sides; default: resnet.")] = None,
    loop: Annotated[str | None, typer.Option(metavar="NAME", help="Of both sides; default: eager.")] = None,
    device: options.Device = None,
    size: options.Size = None,
    batch_size: options.BatchSize = None,
    budget: Annotated[float, typer.Option(help="Seconds after which it ends inconclusive.")] = 90.0,
    false_alarms: Annotated[
        str, typer.Option(metavar="SHARE", help="How often unchanged code may be called a regression.")
    ] = "1%",
    margin: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Sides shown to differ by less are the same, unless slower or faster was sure first; 0.01 or 1%.",
        ),
    ] = "1%",
    threshold: Annotated[str, typer.Option(metavar="SHARE", help="How much slower the head's step may be.")] = "0",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    limit: options.Limit = 300.0,
    out: Annotated[Path, options.out("<machine>/<comparison>/")] = RESULTS,
    inconclusive: options.Inconclusive = None,
    as_json: options.JudgementJson = False,
    junit: options.Junit = None,
    markdown: options.Markdown = None,
) -> None:
    """Compare two sides in turns, and say as soon as it is sure whether the head is slower.

    Ctrl-C ends it with the verdict on what there is.
    Exit status: 0 no regression, 1 a regression, 2 bad input, 3 inconclusive, 4 not comparable.
    """
    refuse_unwritable(junit, markdown)
    conditions = Conditions(device, size, batch_size, seed, threads, limit)
    invocation = Invocation(out, as_json, conditions, budget_seconds=budget)
    from loopmark.bench.judge.calibration import quotations
    from loopmark.bench.judge.finding import Judgement
    from loopmark.bench.judge.sequential_comparison import DecisionRules, judge_comparison
    from loopmark.bench.judge.settings import parse_false_alarms, parse_share
    from loopmark.bench.measure.sides import parse_side, prepare_comparison
    from loopmark.bench.records.comparison import calibrations_of

    rules = DecisionRules(
        false_alarms=parse_false_alarms(false_alarms, "--false-alarms"),
        margin=parse_share(margin, "--margin"),
        step_threshold=parse_share(threshold, "--threshold"),
    )
    sides_asked_for = parse_side(base or [], "--base"), parse_side(head or [], "--head")
    console = invocation.console
    if not base and not head:  # said before a budget is spent on it
        note = "neither --base nor --head is given: both sides are the same, and what differs is this machine's noise"
        console.note(note, "yellow")
    _interrupt_once()
    try:
        with (
            prepare_comparison(*sides_asked_for, invocation.plan, workload=workload, loop=loop) as sides,
            RunProgress(console) as progress,
        ):
            comparison, sequential, folder = _compare(sides, invocation, rules, progress)
        known = calibrations_of(comparison.machine.name, out, REFERENCE)
        judgement = judge_comparison(comparison, sequential, rules, (f"kept in {folder}", *quotations(known)))
    except NotComparable as refusal:
        before, after = (" ".join(side or ()) or "as it is" for side in (base, head))
        judgement = Judgement("ab", before, after, (), rules.false_alarms, refusal=str(refusal))
    judgement = replace(judgement, inconclusive=inconclusive.value if inconclusive else None)
    show_judgement(judgement, as_json=as_json, junit=junit, markdown=markdown, console=console)
    # The verdict has been told: no signal may turn the exit status that says it into another.
    _on_signals(signal.SIG_IGN)  # a handler of ours would be gone before the process is
    raise typer.Exit(judgement.exit_status)


@dataclass(frozen=True)
class Decision:
    """What a measurement came to."""

    measured: "list[Measured]"  # the launch pairs; none where Ctrl-C came before the first had ended
    sequential: "SequentialComparison | None"  # none where nothing was measured
    findings: "tuple[Finding, ...]"  # as they were when the verdict was sure, or at the end
    seconds: float  # until then
    interrupted: bool


def decide(
    measurement: "PairedMeasurement",
    budget_seconds: float,
    rules: "DecisionRules",
    progress: RunProgress | None = None,
    least_seconds: float = 0.0,
) -> Decision:
    """Measure launch pairs until the verdict is sure or the budget is spent.

    It goes on for ``least_seconds`` even when the verdict is sure, which stays what it was.
    """
    from loopmark.bench.judge.sequential_comparison import SequentialComparison

    measured: list[Measured] = []
    sequential: SequentialComparison | None = None
    findings: tuple[Finding, ...] | None = None
    interrupted, start = False, time.perf_counter()
    seconds, judged = 0.0, 0
    try:
        if progress:
            progress.tell("launch pair 1", 0.0, budget_seconds)
        for pair in measurement.pairs(budget_seconds):
            measured.append(pair)
            sequential = sequential or SequentialComparison(rules, *measurement.sides)
            sequential.add(pair.pair, pair.blocks, pair.phases)
            judged += 1
            spent = time.perf_counter() - start
            if findings is None:
                seconds = spent
                findings = sequential.findings() if sequential.decided else None
            if findings is not None and spent >= least_seconds:
                break
            if progress:
                doing = f"launch pair {len(measured) + 1}, at most {budget_seconds:g} s"
                progress.tell(doing, min(1.0, spent / budget_seconds), max(0.0, budget_seconds - spent))
    except KeyboardInterrupt:
        interrupted = True
        if judged < len(measured):  # Ctrl-C came in the middle of judging the last of them
            sequential = SequentialComparison(rules, *measurement.sides)
            for pair in measured:
                sequential.add(pair.pair, pair.blocks, pair.phases)
    if findings is None and sequential is not None:
        findings = sequential.findings()
    return Decision(measured, sequential, findings or (), seconds, interrupted)


def _compare(
    sides: "PreparedComparison", invocation: Invocation, rules: "DecisionRules", progress: RunProgress
) -> "tuple[Comparison, SequentialComparison, Path]":
    """Measure until the verdict is sure, the budget is spent, or a person has had enough, and keep what there is."""
    import pandas as pd

    from loopmark.bench.records.comparison import Comparison, write_comparison

    plan, machine = invocation.plan, invocation.machine
    with sides.measurement(plan) as measurement:
        decision = decide(measurement, plan.budget_seconds, rules, progress)
    if decision.sequential is None:
        raise KeyboardInterrupt
    base, head = measurement.sides
    folder = invocation.new_folder()
    comparison = Comparison(
        name=folder.name,
        command=plan.command,
        started=invocation.started.isoformat(timespec="seconds"),
        seconds=invocation.seconds,
        interrupted=decision.interrupted,
        base=base,
        head=head,
        machine=machine,
        device=plan.device,
        size=plan.size,
        seed=plan.seed,
        budget_seconds=plan.budget_seconds,
        shared_server=sides.shared_server,
        pairs=tuple(one.pair for one in decision.measured),
        warnings=tuple(measurement.warnings),
    )
    blocks, phases = (pd.concat([getattr(one, name) for one in decision.measured]) for name in ("blocks", "phases"))
    write_comparison(folder, comparison, blocks, phases)
    return comparison, decision.sequential, folder


def _interrupt_once() -> None:
    """Make the first Ctrl-C, or polite ``kill``, an interruption, and those after it no more than a word.

    A comparison that is interrupted has processes to end, worktrees to remove and a verdict to give, which takes time.
    """

    def again(*_: Any) -> None:
        # Not print: this may come in the middle of one.
        os.write(sys.stderr.fileno(), b"loopmark: putting things away; the verdict follows\n")

    def first(*_: Any) -> None:
        _on_signals(again)
        raise KeyboardInterrupt

    _on_signals(first)


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
