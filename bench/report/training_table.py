"""The training of the loops, as tables in the terminal and on pages, and in one sentence."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Summary
from loopmark.bench.judge.training import Learning, TrainedRow, TrainedWorkload, TrainingSummary
from loopmark.bench.records.training import Training
from loopmark.bench.report import show
from loopmark.bench.report import training_words as words
from loopmark.bench.report.cards import title_of
from loopmark.bench.report.figures import HEADING_LENGTH
from loopmark.bench.report.machine_tables import machine_table
from loopmark.bench.report.plot_files import Plot
from loopmark.bench.report.table import GAP, NAME_WIDTH, Cell, Column, Table, as_wide_as, figure, print_lines
from loopmark.bench.report.takeaway import REASON_LENGTH, name_another, sentence, spec_of
from loopmark.bench.report.text import elide, plain, short

INTERRUPTED = "Interrupted: this training was stopped before its plan was done. Run its command again for all of it."
WIDE = 160  # for a file, where this table stands alone
Starts = Mapping[tuple[str, str], float | None]  # start-up seconds of each workload's loops in the timed run


def starts_of(summary: Summary) -> Starts:
    """The start-up seconds of the loops of a timed run."""
    return {(row.case.workload, row.case.loop): row.start_seconds for row in summary.rows if not row.case.repeat}


def print_training(summary: TrainingSummary, console: Console | None = None) -> None:
    """Print a training and its takeaway, as wide as the terminal; a file counts as ``WIDE`` wide."""
    console = as_wide_as(console, WIDE)
    lines = [*training_lines(summary, {}, console, alone=True), Text(), Text(training_takeaway(summary), "bold")]
    print_lines(lines, console)


def training_lines(
    summary: TrainingSummary, starts: Starts, console: Console, *, alone: bool = False
) -> Iterator[Text]:
    """The lines on how each case trained; none of the text is markup.

    Args:
        starts: start-up seconds from a timed run, whose first launch compiled with an empty cache; other loops use
            the start of their own first trial.
        alone: True if no other table shows the same loops, so that this one names what departs, and why.
    """
    base = elide(summary.training.plan.baseline, HEADING_LENGTH)
    workloads = [one for one in summary.workloads if alone or one.target is not None]
    rows = [row for workload in workloads for row in workload.rows]
    columns = _columns(starts, base, on_page=False)
    if alone:
        like = Column[TrainedRow](
            f"trains\nas {base}", words.verdict, True, lambda row: "red" if row.departs else "", lost=1
        )
        columns.insert(0, like)
    with_figures = Table(columns, list(filter(_has_figures, rows)), silent=show.ABSENT)
    table = with_figures.in_terminal((row.label for row in rows), console.width)
    for number, workload in enumerate(workloads):
        if number:
            yield Text()
        heading = f"{GAP}{words.heading(workload, summary.training)}"
        yield Text.assemble((elide(workload.workload, NAME_WIDTH), "bold"), (heading, "dim"))
        shown = [row for row in workload.rows if alone or not (row.repeat or _is_told_above(row, starts))]
        yield from table.cases(((row.label, row, "" if _has_figures(row) else _ending(row)) for row in shown), console)
        notes = ((row.label, "; ".join(words.remarks(row, equivalence=alone))) for row in shown)
        yield from table.notes(notes)
    yield from table.rest("report.md")


Value = Callable[[Learning], Estimate | float | None]  # what a column sorts by


def _columns(starts: Starts, baseline: str, *, on_page: bool) -> list[Column[TrainedRow]]:
    """Columns on learning. The terminal has shorter headings in two lines, and no ratios to the baseline."""

    def column(
        terminal: str, page: str, lost: int, say: Callable[[Learning], str], value: Value = lambda _: None
    ) -> Column[TrainedRow]:
        def cell(row: TrainedRow) -> Cell:
            return figure(say(row.learning), value(row.learning)) if row.learning else figure(show.ABSENT)

        return Column(page if on_page else terminal, cell, lost=lost)

    def with_start(row: TrainedRow) -> Cell:
        start = starts.get((row.workload, row.loop))
        return figure(words.with_start(row.learning, start) if row.learning else show.ABSENT)

    def loss(one: Learning) -> str:
        return show.ABSENT if one.loss is None else show.significant(one.loss)

    def ratio(heading: str, of: Callable[[Learning], Estimate | None]) -> Column[TrainedRow]:
        return column("", heading, 0, lambda one: words.in_range(of(one), show.ratio, show.ratio_range), of)

    ratios = (
        ratio(f"of {baseline}'s steps", lambda one: one.steps_ratio),
        ratio(f"sooner than {baseline}", lambda one: one.seconds_ratio),
    )
    return [
        column("learns", "learns", 2, words.learns),
        column("reached\ntarget", "reached the target", 4, words.reached),
        column(
            "steps\nto target", "steps", 5, lambda one: words.in_range(one.steps, show.count), lambda one: one.steps
        ),
        column("time\nto target", "time", 1, words.seconds, lambda one: one.seconds),
        Column("with a\ncold start", with_start, lost=3),
        column("energy\nto target", "energy", 6, words.joules, lambda one: one.joules),
        *(ratios if on_page else ()),
        column("loss\nin the end", "loss in the end", 9, loss),
        column(
            "quality\nin the end", "quality in the end", 7, lambda one: words.in_range(one.quality, show.significant)
        ),
        column("converged", "converged", 8, words.ending),
    ]


def _is_told_above(row: TrainedRow, starts: Starts) -> bool:
    """True if the table of the timed run already has the reason why this loop has no figures."""
    return not _has_figures(row) and starts.get((row.workload, row.loop), 0.0) is None


def _has_figures(row: TrainedRow) -> bool:
    return row.learning is not None or row.equivalence.verdict is not None


def _ending(row: TrainedRow) -> str:
    proof = row.equivalence.proof
    status = proof.status.replace("_", " ") if proof.status != "ok" else words.NOT_COMPARED
    return f"{status}: {plain(row.equivalence.why_not or '')}"


def training_takeaway(summary: TrainingSummary) -> str:
    """The loops that train another model than the baseline, and the soonest at the target, by workload.

    A loop is called sooner only if its whole interval is.
    """
    training = summary.training
    text = "; ".join(f"on {short(w.workload)}, {', and '.join(_clauses(w, training))}" for w in summary.workloads)
    return sentence(f"{text}.", training.interrupted)


def _clauses(workload: TrainedWorkload, training: Training) -> list[str]:
    compared = [row for row in workload.rows if row.loop != workload.baseline and row.equivalence.verdict is not None]
    said = [_alike(compared, short(workload.baseline))]
    base = next((row.equivalence.proof for row in workload.rows if row.is_baseline), None)
    if base and base.status != "ok":
        loops = [row.loop for row in workload.rows]
        own = next(
            (spec_of(loop, loops, training.plan.loops) for loop in loops if ":" in loop and loop != base.loop), None
        )
        why = elide(base.reason or base.status, REASON_LENGTH)
        said = [f"{short(base.loop)} cannot run it ({why}){name_another(own or 'path/to/file.py:step')}"]
    trained = {row.loop: row.learning for row in workload.rows if row.learning is not None and not row.departs}
    if trained and workload.target is not None:
        target = f"{short(workload.target.metric)} of {workload.target.value:g}"
        said.append(_soonest(trained, target, workload.baseline))
    return said


def _alike(compared: list[TrainedRow], base: str) -> str:
    departing = [short(row.loop) for row in compared if row.departs]
    if departing:
        return f"{', '.join(departing)} {'trains' if len(departing) == 1 else 'train'} another model than {base}"
    steps = min((row.equivalence.proof.steps for row in compared), default=0)
    if len(compared) == 1:
        return f"{short(compared[0].loop)} trains as {base} does in its first {steps} steps"
    if not compared:
        return f"nothing was compared with {base}"
    return f"each of {len(compared)} loops trains as {base} does in its first {steps} steps"


def _soonest(trained: dict[str, Learning], target: str, baseline: str) -> str:
    sooner: dict[str, Estimate] = {
        loop: learning.seconds_ratio
        for loop, learning in trained.items()
        if learning.seconds_ratio is not None and learning.surely_sooner
    }
    if sooner:
        best = max(sooner, key=lambda loop: sooner[loop].value)
        ratio, _, ends = show.ratio_range(sooner[best]).partition(" ")
        return f"{short(best)} is at {target} {ratio} sooner {ends}, without start-up"
    base = trained.get(baseline)
    if base is None or base.seconds is None:
        return f"{short(baseline)} is not at {target} with every seed"
    return f"no loop is sure to be at {target} sooner, where {short(baseline)} is in {show.seconds_of(base.seconds)}"


def contents(summary: TrainingSummary, plots: Sequence[Plot]) -> dict[str, Any]:
    """The context of the templates of a training's pages, without a timed run."""
    training = summary.training
    return {
        "training": training,
        "title": title_of(training, [one.workload for one in summary.workloads]),
        "takeaway": training_takeaway(summary),
        "baseline": short(training.plan.baseline),
        "workloads": [
            {
                "name": workload.workload,
                "plots": [plot for plot in plots if plot.workload == workload.workload],
                "training": section(workload, summary, {}),
            }
            for workload in summary.workloads
        ],
        "machine": machine_table(training.machine, training.environment),
        "warnings": [*([INTERRUPTED] if training.interrupted else []), *training.warnings],
    }


NAME = Column[TrainedRow]("loop", lambda row: Cell(row.label, strong=row.is_baseline))


def section(workload: TrainedWorkload | None, summary: TrainingSummary | None, starts: Starts) -> dict[str, Any] | None:
    """The content on a workload's training; None if there was none."""
    if workload is None or summary is None:
        return None
    heading, base = words.heading(workload, summary.training), elide(workload.baseline, HEADING_LENGTH)
    like = Column[TrainedRow](f"trains as {base}", words.verdict)
    compared = [row for row in workload.rows if row.equivalence.proof.status != "skipped"]
    trained = [row for row in workload.rows if row.learning is not None]
    return {
        "equivalence": Table([NAME, like, Column("evidence", words.evidence)], compared, figures=False),
        "heading": f"{heading[0].upper()}{heading[1:]}.",
        "learning": Table([NAME, *_columns(starts, base, on_page=True)], trained, silent=show.ABSENT),
        "notes": [f"{row.label} – {'; '.join(said)}" for row in workload.rows if (said := words.remarks(row))],
    }
