"""Runs side by side in words: differences, which one is faster, and where each technique pays; from verdicts only."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import NamedTuple

from loopmark.bench.judge.comparison import Verdict, peaks_of_memory
from loopmark.bench.judge.differences import unlike
from loopmark.bench.judge.settings import Thresholds
from loopmark.bench.judge.side_by_side import (
    ComparedRun,
    Line,
    Place,
    SideBySide,
    StepWork,
    WorkloadComparison,
    rank,
    settings_of,
)
from loopmark.bench.judge.summary import Row
from loopmark.bench.report import cells, show
from loopmark.bench.report.takeaway import doubt_of
from loopmark.bench.report.text import MOST_NAMED, elide, grouped, listed, named, plain, short

RUN = "run"  # a fact that is listed for every machine; no conclusion follows from it
NAME_LENGTH = 60
LONGEST_VALUE = 10
MOST_VALUES = 3  # values of a fact in a sentence; tables have all
VERBS: dict[Verdict, str] = {
    "faster": "pays on",
    "slower": "costs on",
    "same": "makes no difference on",
    "inconclusive": "is not settled on",
}
# The fastest run against another one, by the verdict on that one.
AGAINST: dict[Verdict | None, str] = {
    "slower": "{0} as fast as {1}",
    "same": "as fast as {1}, ~ {2}",
    "inconclusive": "not told apart from {1}, ~ {2}",
}
COUNTS = (
    "These are absolute seconds of independent runs, and machines drift between runs. So a difference counts only "
    f"beyond {show.percent(Thresholds().step)} and both noise floors, as in `loopmark check`."
)
ENDED = {"skipped": "is skipped"}  # the words for a status in a sentence; other statuses are used as they are
# The fields in which settings may differ, by their names in a sentence.
KINDS = {"machine": "fingerprint", "device": "device", "threads": "threads", "instructions": "instructions"}
NOTHING_IN_COMMON = "Nothing in common: no loop was measured in two of these runs; each is shown by itself"
ONE_LAUNCH = "only one launch of each loop: its figures have no intervals"
NOT_LOOKED_AT = "its training was not compared"
ALONE = (
    "Only one run: give a second one to compare it with, or copy results/<machine>/<run> from another machine into "
    "results and run `make compare`"
)
ASK_FOR_A_VERDICT = (
    "No regression is claimed here: `loopmark check NEW --baseline OLD` gives a verdict on stored runs, "
    "`loopmark ab` a surer one, with both sides in turns."
)


def baseline(found: WorkloadComparison | SideBySide) -> str:
    """The baseline of all its runs, or words for it if they differ."""
    names = {compared.run.plan.baseline for compared in found.runs}
    return short(names.pop()) if len(names) == 1 else "the baseline"


def title(found: SideBySide) -> str:
    """``resnet and gpt on a and b``: the workloads, and the machines or settings that ran them."""
    workloads = listed([short(comparison.workload) for comparison in found.workloads])
    names = [found.runs[0].run.machine.name] if found.is_over_time else [compared.name for compared in found.runs]
    return f"{workloads} on {named(names)}"


def headline(found: SideBySide) -> str:
    """The kind and number of the compared runs, or the reason why they do not compare."""
    if len(found.runs) == 1:
        return ALONE
    if not found.have_something_in_common:
        return NOTHING_IN_COMMON
    if found.is_over_time:
        return f"{found.runs[0].run.machine.name}, before and after: {len(found.runs)} runs, the oldest first"
    settings = settings_of([compared.run for compared in found.runs])
    machines = len({setting.fingerprint for setting in settings})
    if machines < len(found.runs):
        kinds = [kind for kind, of in KINDS.items() if len(set(map(attrgetter(of), settings))) > 1]
        return f"{len(found.runs)} settings side by side, by {listed(kinds)}"
    return f"{machines} machines side by side"


def facts(found: SideBySide) -> dict[str, list[str]]:
    """The facts that differ, with each run's value; between machines, the runs' names come first."""
    runs = [compared.run for compared in found.runs]
    told = {name: [show.ABSENT if v is None else plain(v) for v in values] for name, values in unlike(runs).items()}
    own = {} if found.is_over_time else {RUN: [plain(run.name) for run in runs]}
    return {**own, **{plain(name): values for name, values in told.items()}}


def shared(compared_runs: Sequence[ComparedRun], values: Sequence[str]) -> str:
    """``2.12.0 on a and b; 2.13.0 on the other 5``: one fact on a line, in place of a table."""
    names_of = (compared.name for compared in compared_runs)
    holders = grouped(zip((elide(value, NAME_LENGTH) for value in values), names_of, strict=True))
    told = [f"{value} on {named(names)}" for value, names in holders.items()]
    if len(told) > MOST_VALUES:
        return f"{'; '.join(told[:MOST_VALUES])}; and {len(told) - MOST_VALUES} values more"
    usual, names = max(holders.items(), key=lambda held: len(held[1]))
    if len(told) == 1:
        return f"{usual} on all"
    if len(names) <= MOST_NAMED:
        return "; ".join(told)
    told.remove(f"{usual} on {named(names)}")
    return "; ".join([*told, f"{usual} on the other {len(names)}"])


def works(comparison: WorkloadComparison) -> str:
    """The work of a step: once if it is the same everywhere, else with a warning, by run."""
    texts = {compared.name: "; ".join(map(cells.work, comparison.works(compared))) for compared in comparison.runs}
    by_work = grouped((text, name) for name, text in texts.items() if text)
    if comparison.is_same_work:
        return next(iter(by_work), "")
    told = "; ".join(f"{named(names)}: {text}" for text, names in by_work.items())
    return f"not the same work, so only ratios to {baseline(comparison)} compare: {told}"


def other_work(comparison: WorkloadComparison) -> str:
    """The differences in the work, on a line: ``not the same work (batch size 64 or 256): only ratios to eager …``."""
    all_works = [one for compared in comparison.runs for one in comparison.works(compared)]
    told = []
    for field in fields(StepWork):
        values = dict.fromkeys(str(getattr(one, field.name))[:LONGEST_VALUE] for one in all_works)
        if len(values) > 1:
            told.append(f"{field.name.replace('_', ' ')} {' or '.join(values)}")
    return plain(f"not the same work ({', '.join(told)}): only ratios to {baseline(comparison)} compare")


class Answer(NamedTuple):
    """Which machine or setting is faster on one workload, by how much, in one sentence."""

    workload: str
    text: str
    places: tuple[Place, ...] = ()  # the fastest first; empty if nothing compares


def answers(found: SideBySide) -> Iterator[Answer]:
    """The answers on every workload of several runs: with the baseline, and with the best loop of each run.

    Runs of one machine over time have none. The best loop is the fastest that was shown to train as the baseline does.
    """
    for comparison in () if found.is_over_time else (one for one in found.workloads if len(one.runs) > 1):
        name, who = comparison.workload, short(comparison.workload)
        cases = [(compared, compared.judged.base(name)) for compared in comparison.runs]
        base = [Line(compared, case.row) for compared, case in cases if case is not None]
        best = [_best(comparison, line) for line in base]
        if not comparison.is_same_work:
            told = [f"{short(r.case.loop)} on {e.name} ({show.ratio_range(r.speedup)})" for e, r in best if r.speedup]
            yield Answer(
                name, f"{who}: {'; the best loop is '.join(filter(None, [other_work(comparison), listed(told)]))}."
            )
        elif len(base) < 2:
            yield Answer(name, f"{who}: no two runs measured {baseline(comparison)}, so nothing compares.")
        else:
            kinds = {"baseline": base, "best loop": best if [r for _, r in best] != [r for _, r in base] else []}
            yield from (_answer(name, kind, rank(lines)) for kind, lines in kinds.items() if lines)


def _best(comparison: WorkloadComparison, base: Line) -> Line:
    lines = [line for line in comparison.lines if line.compared is base.compared and line.row.verdict == "faster"]
    sure = [line for line in lines if not _doubt(comparison, *line)]
    return max(sure, key=lambda line: line.row.speedup.value if line.row.speedup else 0.0, default=base)


def _answer(workload: str, kind: str, places: tuple[Place, ...]) -> Answer:
    loops = {place.line.row.case.loop for place in places}

    def who(place: Place, unit: str = "") -> str:
        loop = f"{short(place.line.row.case.loop)}, " if len(loops) > 1 else ""
        return f"{place.line.compared.name} ({loop}{show.seconds_of(place.line.row.step_seconds)}{unit})"

    told = [AGAINST[p.verdict].format(show.ratio_range(p.slower), who(p), show.interval(p.slower)) for p in places[1:]]
    shared = [short(*loops)] if len(loops) == 1 else []
    how = ", ".join(shared if shared and kind == "baseline" else [f"each one's {kind}", *shared])
    return Answer(workload, f"{short(workload)} with {how}: {who(places[0], ' a step')} is {listed(told)}.", places)


def conclusions(found: SideBySide) -> Iterator[str]:
    """Where each technique pays: a sentence for each loop that has a verdict in any run, by workload."""
    for comparison in found.workloads:
        for loop in comparison.loops:
            clauses = list(_clauses(comparison, loop))
            if clauses:
                end = "" if comparison.is_same_work else " (not the same work)"
                who = f"{elide(comparison.workload, NAME_LENGTH)}: {elide(loop, NAME_LENGTH)}"
                yield f"{who} {', '.join(clauses)}{end}."


def _clauses(comparison: WorkloadComparison, loop: str) -> Iterator[str]:
    rows = [(compared, row) for compared, row in comparison.rows(loop) if row.verdict is not None]
    for verdict, verb in VERBS.items():
        doubts = (
            (_doubt(comparison, compared, row) if verdict == "faster" else "", (compared, row))
            for compared, row in rows
            if row.verdict == verdict
        )
        by_doubt = grouped(doubts)
        for why, ours in sorted(by_doubt.items(), key=lambda said: said[0] != ""):  # sure claims come first
            places = _places(ours, len(comparison.runs))
            yield f"is faster on {places}, but {why} there" if why else f"{verb} {places}"
    if rows:  # runs without figures of a loop are an answer too
        ends = grouped((cells.status(row), e.name) for e, row in comparison.rows(loop) if row.step_seconds is None)
        yield from (f"{ENDED.get(status, status)} on {named(names)}" for status, names in ends.items())


def _doubt(comparison: WorkloadComparison, compared: ComparedRun, row: Row) -> str:
    """The reason why a faster loop does not pay: speed is no gain if the trained model differs."""
    if row.trained is None and not row.compiled_nothing:
        return NOT_LOOKED_AT
    base = compared.row(comparison.workload, row.baseline)
    return doubt_of(row, base.trained if base else None)


def _places(rows: Sequence[tuple[ComparedRun, Row]], of: int) -> str:
    """The runs with one verdict, ``of`` in all: with each ratio, or with the least and greatest of many."""
    is_claim = rows[0][1].verdict in ("faster", "slower")
    if len(rows) <= MOST_NAMED:
        return listed([f"{e.name} ({show.ratio_range(row.speedup)})" if is_claim else e.name for e, row in rows])
    who = f"all {of}" if len(rows) == of else named([compared.name for compared, _ in rows])
    if not is_claim:
        return who
    ratios = sorted(row.speedup.value for _, row in rows if row.speedup)
    ends = dict.fromkeys(map(show.ratio, (ratios[0], ratios[-1])))  # one value if both print alike
    return f"{who} ({' to '.join(ends)})"


def noise(comparison: WorkloadComparison) -> str:
    """Each run's noise floor, or the least and greatest of many, on one line; empty if none was measured."""
    pairs = ((compared.name, compared.workload(comparison.workload)) for compared in comparison.runs)
    floors = [(found.noise_floor, name) for name, found in pairs if found and found.noise_floor is not None]
    if not floors:
        return ""
    few = len(floors) <= MOST_NAMED
    told = [f"{show.noise_floor(floor)} on {name}" for floor, name in (floors if few else (min(floors), max(floors)))]
    return f"noise floor {(', ' if few else ' to ').join(told)}: smaller differences are printed as {cells.SAME}"


def remarks(comparison: WorkloadComparison) -> Iterator[tuple[str, str]]:
    """Remarks on rows beyond their figures, with the names of the rows; a shared remark comes once."""
    measured = [line for line in comparison.lines if line.row.step_seconds is not None]
    notes = ((cells.notes(row), f"{elide(row.case.loop, NAME_LENGTH)} on {one.name}") for one, row in measured)
    told = [pair for pair in notes if pair[0]]
    kinds_of = []
    for one in comparison.runs:
        if {len(row.case.launches) for compared, row in measured if compared is one} == {1}:
            told.append((ONE_LAUNCH, one.name))
        rows = (row for compared, row in comparison.lines if compared is one and peaks_of_memory(row.case))
        own_kinds = dict.fromkeys(row.case.memory_kind for row in rows)
        kinds_of += [(plain(kind or "of an unknown kind"), one.name) for kind in own_kinds]
    yield from ((named(names), text) for text, names in grouped(told).items())
    kinds = grouped(kinds_of)
    if len(kinds) > 1:
        told_kinds = "; ".join(f"{kind} on {named(names)}" for kind, names in kinds.items())
        yield "peak memory", f"{told_kinds}: these do not compare"


def endings(comparison: WorkloadComparison) -> Iterator[tuple[str, str]]:
    """The reasons for missing figures, with the names of the rows."""
    for loop in comparison.loops:
        name = elide(loop, NAME_LENGTH)
        if why := nowhere(comparison, loop):
            yield name, why
            continue
        told = grouped((cells.why(row), e.name) for e, row in comparison.rows(loop) if row.step_seconds is None)
        yield from ((f"{name} on {named(names)}", text) for text, names in told.items())


def nowhere(comparison: WorkloadComparison, loop: str) -> str:
    """The reason why a loop has no figures in any run, if all runs have the same one; else empty."""
    reasons = {cells.why(row) if row.step_seconds is None else "" for _, row in comparison.rows(loop)}
    return reasons.pop() if len(reasons) == 1 else ""


def memory(row: Row) -> str:
    """``398 to 401 MiB``: the peaks of the launches with the least and the most."""
    peaks = peaks_of_memory(row.case)
    return show.data_range(min(peaks), max(peaks)) if peaks else show.ABSENT
