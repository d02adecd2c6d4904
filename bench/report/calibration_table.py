"""A calibration in the terminal: detections, their times, and the results of comparing two stored means."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.calibration import CalibrationSummary, EffectRow, Rate
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.report import show
from loopmark.bench.report.table import Column, Table, as_wide_as, print_lines, strict

FILE_WIDTH = 150


def print_calibration(summary: CalibrationSummary, console: Console | None = None) -> None:
    """Print every planted effect's rates with their intervals, and the smallest effect that is detected."""
    console = as_wide_as(console, FILE_WIDTH)
    made, step = summary.calibration, summary.step_seconds
    took = (
        f"{show.seconds(step.value)} ({show.seconds(step.low)} to {show.seconds(step.high)})" if step else show.ABSENT
    )
    title = (
        f"{made.workload} {made.loop} on {made.machine.name}: steps of {took}, "
        f"{len(made.trials)} comparisons of at most {made.budget_seconds:g} s, false alarms asked for "
        f"{show.percent(made.false_alarms)}"
    )
    console.print(Text(title, "bold"))
    table = Table(_columns(summary.rows), summary.rows).in_terminal(width=console.width)
    lines = [*table.headings(), *(table.line(None, row) for row in summary.rows), *table.rest("--json")]
    print_lines([*lines, *(Text(sentence, "dim") for sentence in sentences(summary))], console)


def sentences(summary: CalibrationSummary) -> list[str]:
    """The facts that the table does not hold, one sentence each."""
    lines = []
    if any(row.solo_fails for row in summary.rows):
        lines.append(
            "mean:X% is the result of pytest-benchmark's --benchmark-compare-fail=mean:X% on two means of "
            f"{summary.calibration.solo_seconds:g} s each, one measured just before a comparison of unchanged code and "
            "one just after it; a planted slowdown is added to them by arithmetic"
        )
    replayed = summary.replayed_false_alarms
    if replayed.of:
        lines.append(f"false alarms when launches of unchanged code are replayed at random: {_rate(replayed)}")
    if math.isfinite(summary.launch_deviation):
        lines.append(
            f"one launch pair's figure varies by {show.percent(summary.launch_deviation)} (median absolute deviation, "
            f"as a standard deviation); {show.percent(summary.within_share)} of that variance lies within a launch "
            "pair: it is the machine's effect on a step from one turn to the next"
        )
    if math.isfinite(summary.between_share):
        lines.append(
            f"the variance between comparisons is {show.significant(summary.between_share)} times what the "
            "spread of their launches accounts for"
        )
    if (seen := summary.sensitivity) is not None:
        lines.append(
            f"smallest slowdown found in 95 % of comparisons within {seen.seconds:g} s: {_percents(seen.ours)}; by "
            f"comparing stored means: {_percents(seen.means)}, {show.ratio_range(seen.ratio)} as much"
        )
    return lines


def calibration_as_json(summary: CalibrationSummary) -> str:
    """The summary as strict JSON, without the launches' own figures."""
    content = asdict(summary)
    del content["calibration"]["trials"]
    return json.dumps(strict(content), indent=2, allow_nan=False)


def _columns(rows: Sequence[EffectRow]) -> list[Column[EffectRow]]:
    def within(limit: float) -> Column[EffectRow]:
        return Column(f"within {limit:g} s", lambda row: _rate(row.within[limit]), lost=1)

    def mean(threshold: float) -> Column[EffectRow]:
        def cell(row: EffectRow) -> str:
            return _rate(row.solo_fails[threshold]) if row.solo_fails else show.ABSENT

        return Column(f"mean:{100 * threshold:g}%", cell, lost=2)

    return [
        Column("planted", lambda row: f"+{100 * row.effect:g} %" if row.effect else "nothing", left=True),
        Column("called slower", lambda row: _rate(row.called_slower)),
        *map(within, rows[0].within if rows else ()),
        Column("median time", lambda row: show.seconds(row.seconds_to_verdict)),
        *map(mean, next((row.solo_fails for row in rows if row.solo_fails), ())),
    ]


def _rate(rate: Rate) -> str:
    # Whole per cent from ten on: the other format would print a hundred as 1e+02.
    ends = rate.estimate.low, rate.estimate.high
    low, high = (f"{100 * end:.0f}" if end >= 0.0995 else f"{100 * end:.2g}" for end in ends)
    return f"{rate.times}/{rate.of} [{low}, {high} %]" if rate.of else show.ABSENT


def _percents(estimate: Estimate) -> str:
    return f"{show.percent(estimate.value)} [{show.percent(estimate.low)}, {show.percent(estimate.high)}]"
