"""The answer to a run: a card for each workload with the loops to use, and all loops against all workloads."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.choice import Choice, ahead_from
from loopmark.bench.judge.course import LEAST_STEPS
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.records.run import CommandRecord
from loopmark.bench.report import cells, show
from loopmark.bench.report.course import stands_out, to_try
from loopmark.bench.report.table import GAP, NAME_WIDTH, Cell, Column, Table, ends, figure
from loopmark.bench.report.takeaway import answer, astray, choice_of, gain, hot_spot, loop_spec, spec_of
from loopmark.bench.report.text import elide, listed, plain, short

Use: TypeAlias = tuple[str, str, tuple[str, ...]]  # when, the loop with its gain, and lines of code or a command


@dataclass(frozen=True)
class Card:
    """The answer for one workload; names and code may be text from outside."""

    workload: str
    uses: tuple[Use, ...]
    notes: tuple[str, ...]  # sentences


def cards(summary: Summary) -> list[Card]:
    """A card for each workload."""
    return [_card(workload, summary) for workload in summary.workloads]


def _card(workload: WorkloadSummary, summary: Summary) -> Card:
    if summary.run.watched is not None:
        return Card(
            workload.workload, (), tuple(f"{note[:1].upper()}{note[1:]}." for note in _watched(workload, summary))
        )
    choice, uses = choice_of(workload), list[Use]()
    notes = ["interrupted before all was measured" if summary.interrupted else ""]
    if choice is None:
        notes.append(answer(workload, summary.run))
    else:
        uses += [*_uses(choice), *_untried(choice, workload, summary)]
        if not any(row.trained for row in workload.rows):
            notes.append("no training was compared, so a faster loop may train another model")
        notes += [_unsettled(choice), astray(workload, choice.long), _goal(choice, workload), hot_spot(workload.base)]
    names = tuple(short(row.case.label) for row in workload.rows)
    told = (note if note.startswith(names) else f"{note[:1].upper()}{note[1:]}" for note in notes if note)
    return Card(workload.workload, tuple(uses), tuple(f"{note}." for note in told))


def _watched(workload: WorkloadSummary, summary: Summary) -> Iterator[str]:
    """The answer for a watched script: its first process's step, what stands out, and what to try next."""
    row = workload.base
    if row is None:
        yield answer(workload, summary.run)
        return
    typical = [name for name in cells.phase_names([row]) if row.phases.get(name)]
    yield f"a step: {', '.join(f'{name} {cells.phase(name, row.phases)}' for name in typical)}"
    if row.course is None:
        yield f"fewer than {LEAST_STEPS} steps: too few for what drifts and what stands out"
        return
    yield from stands_out(row.course)
    yield from (f"next: {text}" for text in to_try(row.course, summary.run))


def _uses(choice: Choice) -> Iterator[Use]:
    long, early, steps = choice.long, choice.short, choice.overtakes
    use = f"{short(long.case.label)}, {gain(long)}"
    if steps is None:
        yield "all runs" if long.break_even_steps else "long runs (start-up not measured)", use, long.case.code
        return
    behind = short(early.case.label if early else long.baseline)
    yield f"long runs, ahead of {behind} from {show.count_range(steps)} steps on", use, long.case.code
    if early is None:
        yield "shorter runs", f"{short(long.baseline)}, since nothing is ahead of it that early", ()
        return
    late = ahead_from(early)
    since = f"ahead from step {show.count(late.value)} on" if late else "at no start-up cost"
    yield "shorter runs", f"{short(early.case.label)}, {gain(early)}, {since}", early.case.code


def _untried(choice: Choice, workload: WorkloadSummary, summary: Summary) -> Iterator[Use]:
    if choice.untried is None:
        return
    run, fastest = summary.run, choice.long.case.loop
    loop = loop_spec(fastest, run) + choice.untried.removeprefix(fastest)
    name = spec_of(workload.workload, (case.workload for case in run.cases), run.plan.workloads)
    # On the same work: another size or device may have another answer.
    command = ["loopmark", "run", "--workload", name, "--loop", loop]
    command += ["--device", run.plan.device, "--size", run.plan.size]
    if run.plan.batch_size is not None:
        command += ["--batch-size", str(run.plan.batch_size)]
    if workload.baseline != "eager":
        command += ["--baseline", loop_spec(workload.baseline, run)]
    yield "worth trying, not tried together", choice.untried, (shlex.join(command),)


def _unsettled(choice: Choice) -> str:
    """The loop that may be faster in long runs than the one for them."""
    if (row := choice.unsettled) is None:
        return ""
    return f"not shown to be faster, and starts later: {short(row.case.label)}, {show.ratio_range(row.speedup)}"


def _goal(choice: Choice, workload: WorkloadSummary) -> str:
    """The length of a training to the target, where the loop to use depends on the length."""
    learning = workload.base.trained.learning if workload.base and workload.base.trained else None
    if choice.overtakes is None or learning is None or learning.steps is None:
        return ""
    steps, bounds = learning.steps.value, choice.overtakes
    unsure = bounds.low <= steps <= bounds.high
    length = "where neither is ahead for sure" if unsure else f"a {'short' if steps < bounds.low else 'long'} run"
    target = f"{plain(learning.target.metric)} {learning.target.value:g}"
    return f"training to {target} takes {show.count(steps)} steps, {length}"


def choice_record(workload: WorkloadSummary) -> dict[str, Any] | None:
    """The loops to use as JSON values; None where none is faster than the baseline."""
    choice = choice_of(workload)
    if choice is None:
        return None
    early = choice.short.case.loop if choice.short else choice.long.baseline
    return {
        "long_runs": choice.long.case.loop,
        "shorter_runs": early if choice.overtakes else choice.long.case.loop,
        **ends("overtakes_after_steps", choice.overtakes),
        "code": list(choice.long.case.code),
        "untried": choice.untried,
        "unsettled": choice.unsettled.case.loop if choice.unsettled else None,
    }


def card_lines(summary: Summary, console: Console) -> Iterator[Text]:
    """The loops on all workloads, and the cards, in the terminal; long lines are wrapped below their beginning."""
    by_workload = matrix(summary)
    if by_workload:
        table = Table(by_workload.columns[1:], by_workload.rows).in_terminal(by_workload.rows, console.width)
        yield from (*table.headings(), *(table.line(loop, loop) for loop in by_workload.rows), Text())
    for card in cards(summary):
        yield Text(elide(card.workload, NAME_WIDTH), "bold")
        for when, use, code in card.uses:
            yield from _wrapped(Text(f"{when}: ").append(use, "bold"), console)
            # A line break within a command would be copied with it.
            yield from (Text(f"{GAP}{GAP}{plain(text)}", "cyan", no_wrap=True) for text in code)
        for note in card.notes:
            yield from _wrapped(Text(note, "" if card.uses else "bold"), console)


def _wrapped(text: Text, console: Console) -> Iterator[Text]:
    width = console.width if console.is_terminal else 10_000  # a file has each on one line
    yield from (Text(GAP) + line for line in text.wrap(console, width - len(GAP)))


def matrix(summary: Summary) -> Table[str]:
    """The speedup of each loop on each workload; empty for a single workload."""
    if len(summary.workloads) < 2:
        return Table((), ())
    by_case = {(row.case.workload, row.case.label): row for row in summary.rows if not row.case.repeat}
    chosen = {id(choice.long.case) for workload in summary.workloads if (choice := choice_of(workload))}

    def column(name: str) -> Column[str]:
        def cell(label: str) -> Cell:
            if (row := by_case.get((name, label))) is None:
                return figure(show.ABSENT)
            value = row.speedup.value if row.speedup else None
            return Cell(_short_speedup(row), value, strong=id(row.case) in chosen, figure=True)

        return Column(elide(name, NAME_WIDTH), cell, style=lambda label: "bold" if cell(label).strong else "")

    loops = tuple(dict.fromkeys(label for _, label in by_case))
    return Table([Column("loop", lambda label: label), *(column(one.workload) for one in summary.workloads)], loops)


def _short_speedup(row: Row) -> str:
    if row.step_seconds is None:
        return cells.status(row)
    if row.is_baseline or row.speedup is None:
        return cells.speedup(row)
    ratio = show.ratio(row.speedup.value) if row.verdict in ("faster", "slower") else cells.SAME
    return f"{ratio}, departs" if row.departs else ratio


def title(summary: Summary) -> str:
    """``resnet and gpt on AMD EPYC``: the workloads of a run, and the hardware that ran them."""
    return title_of(summary.run, [one.workload for one in summary.workloads])


def title_of(command: CommandRecord, workloads: Sequence[str]) -> str:
    """The workloads and the hardware that ran them."""
    machine, plan = command.machine, command.plan
    hardware = machine.cpu if plan.device == "cpu" or not machine.gpus else machine.gpus[0].name
    return f"{listed([*map(short, workloads)]) or 'nothing'} on {plain(hardware)}"
