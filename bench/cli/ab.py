"""``loopmark ab``: two sides in turns, until the verdict is sure."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopmark.bench.cli.interruption import interrupt_once, leave_undisturbed
from loopmark.bench.cli.options import BatchSizeOption, DeviceOption, LimitOption, SeedOption, SizeOption, ThreadsOption
from loopmark.bench.cli.status import REFERENCE
from loopmark.bench.cli.tell import (
    InconclusiveOption,
    JsonOption,
    JunitOption,
    MarkdownOption,
    refuse_unwritable,
    refuse_unwritable_folder,
    tell,
)
from loopmark.bench.errors import NotComparable

if TYPE_CHECKING:
    from loopmark.bench.judge.sequential_comparison import DecisionRules, SequentialComparison
    from loopmark.bench.measure.sides import PreparedComparison
    from loopmark.bench.progress import RunProgress
    from loopmark.bench.records.comparison import Comparison
    from loopmark.bench.records.run import Plan

DEFAULT_BUDGET_SECONDS = 90.0


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
    device: DeviceOption = None,
    size: SizeOption = None,
    batch_size: BatchSizeOption = None,
    budget: Annotated[float, typer.Option(help="Seconds after which it ends inconclusive.")] = DEFAULT_BUDGET_SECONDS,
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
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    limit: LimitOption = 300.0,
    out: Annotated[Path, typer.Option(help="The folder that gets <machine>/<comparison>/.")] = Path("results"),
    inconclusive: InconclusiveOption = None,
    as_json: JsonOption = False,
    junit: JunitOption = None,
    markdown: MarkdownOption = None,
) -> None:
    """Compare two sides in turns, and say as soon as it is sure whether the head is slower.

    Ctrl-C ends it with the verdict on what there is.
    Exit status: 0 no regression, 1 a regression, 2 bad input, 3 inconclusive, 4 not comparable.
    """
    from loopmark.bench.progress import RunProgress, announce_torch, stderr_console

    refuse_unwritable(junit, markdown)
    refuse_unwritable_folder(out)
    console = stderr_console()
    announce_torch(console, quiet=as_json)
    from loopmark.bench.judge.calibration import quotations
    from loopmark.bench.judge.finding import Judgement
    from loopmark.bench.judge.sequential_comparison import DecisionRules, judge_comparison
    from loopmark.bench.judge.settings import parse_false_alarms, parse_share
    from loopmark.bench.measure.plan import PlanOptions, make_plan
    from loopmark.bench.measure.sides import parse_side, prepare_comparison
    from loopmark.bench.records.comparison import calibrations_of

    rules = DecisionRules(
        false_alarms=parse_false_alarms(false_alarms, "--false-alarms"),
        margin=parse_share(margin, "--margin"),
        step_threshold=parse_share(threshold, "--threshold"),
    )
    wishes = parse_side(base or [], "--base"), parse_side(head or [], "--head")
    plan = make_plan(
        PlanOptions(
            command=["loopmark", *sys.argv[1:]],
            device=device,
            size=size,
            batch_size=batch_size,
            budget_seconds=budget,
            seed=seed,
            threads=threads,
            limit_seconds=limit,
        )
    )
    if not base and not head:  # said before a budget is spent on it
        note = "neither --base nor --head is given: both sides are the same, and what differs is this machine's noise"
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    interrupt_once()
    try:
        with prepare_comparison(*wishes, plan, workload=workload, loop=loop) as sides, RunProgress(console) as progress:
            comparison, sequential, folder = _compare(sides, plan, rules, out, progress)
        known = calibrations_of(comparison.machine.name, out, REFERENCE)
        judgement = judge_comparison(comparison, sequential, rules, (f"kept in {folder}", *quotations(known)))
    except NotComparable as refusal:
        judgement = Judgement("ab", _named(base), _named(head), (), rules.false_alarms, refusal=str(refusal))
    judgement = replace(judgement, inconclusive=inconclusive.value if inconclusive else None)
    tell(judgement, as_json=as_json, junit=junit, markdown=markdown, console=console)
    leave_undisturbed()
    raise typer.Exit(judgement.exit_status)


def _compare(
    sides: "PreparedComparison", plan: "Plan", rules: "DecisionRules", out: Path, progress: "RunProgress | None"
) -> "tuple[Comparison, SequentialComparison, Path]":
    """Measure until the verdict is sure, the budget is spent, or a person has had enough, and keep what there is."""
    from datetime import UTC, datetime

    import pandas as pd

    from loopmark.bench.cli.hold import hold
    from loopmark.bench.measure.launcher import apart
    from loopmark.bench.measure.machine import describe_machine
    from loopmark.bench.records.comparison import Comparison, write_comparison
    from loopmark.bench.records.store import create_folder

    started, machine = datetime.now(UTC), apart(describe_machine, plan.device)
    with sides.measurement(plan) as measurement:
        held = hold(measurement, plan.budget_seconds, rules, progress)
    if held.sequential is None:
        raise KeyboardInterrupt
    base, head = measurement.sides
    folder = create_folder(out, machine.name, started.isoformat())
    comparison = Comparison(
        name=folder.name,
        command=plan.command,
        started=started.isoformat(timespec="seconds"),
        seconds=(datetime.now(UTC) - started).total_seconds(),
        interrupted=held.interrupted,
        base=base,
        head=head,
        machine=machine,
        device=plan.device,
        size=plan.size,
        seed=plan.seed,
        budget_seconds=plan.budget_seconds,
        shared_server=sides.shared_server,
        pairs=tuple(one.pair for one in held.measured),
        warnings=tuple(measurement.warnings),
    )
    blocks, phases = (pd.concat([getattr(one, name) for one in held.measured]) for name in ("blocks", "phases"))
    write_comparison(folder, comparison, blocks, phases)
    return comparison, held.sequential, folder


def _named(options: list[str] | None) -> str:
    return " ".join(options or ()) or "as it is"
