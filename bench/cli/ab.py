"""``loopmark ab``: compare two sides in turns until the verdict is certain."""

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
from loopmark.bench.errors import BadInput, NotComparable
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
        options.value(
            "KEY=VALUE",
            "Set the base side: loop=, workload=, rev= (a git revision), python= (an interpreter), "
            "env=NAME=value, or cmd= (a training script, unedited). Repeat it, or use commas.",
        ),
    ] = None,
    head: Annotated[list[str] | None, options.value("KEY=VALUE", "Set the head side, likewise.")] = None,
    workload: Annotated[str | None, options.value("NAME", "Run this on both sides. Default: resnet.")] = None,
    loop: Annotated[str | None, options.value("NAME", "Run this on both sides. Default: eager.")] = None,
    baseline: Annotated[
        str | None, options.value("NAME", "Run this on the base side, and as the default of the head side.")
    ] = None,
    device: options.Device = None,
    size: options.Size = None,
    batch_size: options.BatchSize = None,
    budget: Annotated[float, typer.Option(help="End as inconclusive after this number of seconds.")] = 90.0,
    false_alarms: Annotated[str, options.value("SHARE", "Call unchanged code a regression at most this often.")] = "1%",
    margin: Annotated[
        str,
        options.value(
            "SHARE",
            "Call sides the same if they differ by less (0.01 or 1%), unless slower or faster is certain first.",
        ),
    ] = "1%",
    threshold: Annotated[str, options.value("SHARE", "Allow the head's step to be slower by this share.")] = "0",
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential", help="Run launches one after the other, for sides that block each other. It sees less."
        ),
    ] = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    limit: options.Limit = 300.0,
    out: Annotated[Path, options.out("<machine>/<comparison>/")] = RESULTS,
    inconclusive: options.Inconclusive = None,
    as_json: options.JudgementJson = False,
    junit: options.Junit = None,
    markdown: options.Markdown = None,
) -> None:
    """Compare two sides in turns until the verdict is certain. Ctrl-C gives the verdict on the pairs measured so far.

    Exit status: 0 no regression, 1 regression, 2 bad input, 3 inconclusive, 4 not comparable.
    """
    refuse_unwritable(junit, markdown)
    of_loops: dict[str, object] = {
        "--workload": workload,
        "--loop": loop,
        "--baseline": baseline,
        "--device": device,
        "--size": size,
    }
    of_loops |= {"--batch-size": batch_size, "--seed": seed or None, "--threads": threads}
    if baseline is not None:
        if not baseline or any(side.startswith("loop=") for side in base or []):
            raise BadInput("--baseline names the base's loop: give it a name, and no --base loop= beside it")
        base, loop = [*(base or []), f"loop={baseline}"], loop or baseline
    conditions = Conditions(device, size, batch_size, seed, threads, limit)
    invocation = Invocation(out, as_json, conditions, budget_seconds=budget)
    from loopmark.bench.judge.calibration import quotations
    from loopmark.bench.judge.finding import Judgement
    from loopmark.bench.judge.sequential_comparison import DecisionRules, judge_comparison
    from loopmark.bench.judge.settings import parse_false_alarms, parse_share
    from loopmark.bench.measure.sides import parse_side, prepare_comparison, refuse_commands
    from loopmark.bench.records.comparison import calibrations_of

    rules = DecisionRules(
        false_alarms=parse_false_alarms(false_alarms, "--false-alarms"),
        margin=parse_share(margin, "--margin"),
        step_threshold=parse_share(threshold, "--threshold"),
    )
    sides_asked_for = parse_side(base or [], "--base"), parse_side(head or [], "--head")
    refuse_commands(*sides_asked_for, of_loops)
    console = invocation.console
    if not base and not head:  # warn before the budget is spent
        note = "neither --base nor --head is given: both sides are the same, and any difference is this machine's noise"
        console.note(note, "yellow")
    _interrupt_once()
    try:
        with (
            prepare_comparison(*sides_asked_for, invocation.plan, workload=workload, loop=loop) as sides,
            RunProgress(console) as progress,
        ):
            measurement = sides.measurement(invocation.plan, sequential=sequential)
            comparison, judged, folder = _compare(sides, measurement, invocation, rules, progress)
        known = calibrations_of(comparison.machine.name, out, REFERENCE)
        judgement = judge_comparison(comparison, judged, rules, (f"kept in {folder}", *quotations(known)))
    except NotComparable as refusal:
        before, after = (" ".join(side or ()) or "as it is" for side in (base, head))
        judgement = Judgement("ab", before, after, (), rules.false_alarms, refusal=str(refusal))
    judgement = replace(judgement, inconclusive=inconclusive.value if inconclusive else None)
    show_judgement(judgement, as_json=as_json, junit=junit, markdown=markdown, console=console)
    # The verdict is printed: from here no signal may change the exit status.
    _on_signals(signal.SIG_IGN)  # a Python handler would be gone before the process ends
    raise typer.Exit(judgement.exit_status)


@dataclass(frozen=True)
class Decision:
    measured: "list[Measured]"  # the launch pairs; empty if Ctrl-C came before the first ended
    sequential: "SequentialComparison | None"  # None if nothing was measured
    findings: "tuple[Finding, ...]"  # at the time when the verdict was certain, or at the end
    seconds: float  # until these findings
    interrupted: bool


def decide(
    measurement: "PairedMeasurement",
    budget_seconds: float,
    rules: "DecisionRules",
    progress: RunProgress | None = None,
    least_seconds: float = 0.0,
) -> Decision:
    """Measure launch pairs until the verdict is certain or the budget is spent.

    Measuring goes on for at least ``least_seconds``; a verdict that was certain before does not change.
    """
    from loopmark.bench.judge.sequential_comparison import SequentialComparison

    measured: list[Measured] = []
    sequential: SequentialComparison | None = None
    findings: tuple[Finding, ...] | None = None
    interrupted, start = False, time.perf_counter()
    seconds = 0.0
    try:
        if progress:
            measurement.tick = progress.tick
            progress.tell("launch pair 1", 0.0, budget_seconds)
        for pair in measurement.pairs(budget_seconds):
            measured.append(pair)
            sequential = sequential or SequentialComparison(rules, *measurement.sides)
            sequential.add(pair.pair, pair.blocks, pair.phases)
            spent = time.perf_counter() - start
            if findings is None:
                seconds = spent
                findings = sequential.findings() if sequential.decided else None
            if findings is not None and spent >= least_seconds:
                break
            if progress:
                needed = sequential.seconds_needed(spent)
                short = f"no verdict before {needed:.0f} s · " if needed > budget_seconds else ""
                doing = f"{short}launch pair {len(measured) + 1}"
                progress.tell(doing, min(1.0, spent / budget_seconds), max(0.0, budget_seconds - spent))
    except KeyboardInterrupt:
        interrupted = True
        if measured:  # judge all pairs anew, since Ctrl-C may have come while the last one was judged
            sequential = SequentialComparison(rules, *measurement.sides)
            for pair in measured:
                sequential.add(pair.pair, pair.blocks, pair.phases)
    if findings is None and sequential is not None:
        findings = sequential.findings()
    return Decision(measured, sequential, findings or (), seconds, interrupted)


def _compare(
    sides: "PreparedComparison",
    measurement: "PairedMeasurement",
    invocation: Invocation,
    rules: "DecisionRules",
    progress: RunProgress,
) -> "tuple[Comparison, SequentialComparison, Path]":
    """Measure until the verdict is certain, the budget is spent or Ctrl-C is pressed, and keep what was measured."""
    import pandas as pd

    from loopmark.bench.records.comparison import COMPARISON_FILE, Comparison
    from loopmark.bench.records.samples import write_with_tables

    plan, facts = invocation.plan, invocation.facts
    with measurement:
        decision = decide(measurement, plan.budget_seconds, rules, progress)
    if decision.sequential is None:
        raise KeyboardInterrupt
    base, head = measurement.sides
    folder = invocation.new_folder()
    common = facts.fields(folder, interrupted=decision.interrupted)
    del common["plan"], common["environment"]  # each side has an environment of its own
    comparison = Comparison(
        **common,
        command=plan.command,
        base=base,
        head=head,
        device=measurement.device,
        size=plan.size,
        seed=plan.seed,
        budget_seconds=plan.budget_seconds,
        shared_server=sides.shared_server,
        pairs=tuple(one.pair for one in decision.measured),
        warnings=tuple(measurement.warnings),
    )
    tables = {name: pd.concat([getattr(one, name) for one in decision.measured]) for name in ("blocks", "phases")}
    write_with_tables(folder / COMPARISON_FILE, comparison, tables)
    return comparison, decision.sequential, folder


def _interrupt_once() -> None:
    """Make the first Ctrl-C or SIGTERM an interruption; later ones print a line and do nothing else.

    An interrupted comparison needs time to end its processes, remove its worktrees and give a verdict.
    """

    def again(*_: Any) -> None:
        # os.write, since the signal may arrive during a print.
        os.write(sys.stderr.fileno(), b"loopmark: cleaning up; the verdict follows\n")

    def first(*_: Any) -> None:
        _on_signals(again)
        raise KeyboardInterrupt

    _on_signals(first)


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
