"""Runs side by side in words: what differs, which technique pays where, and what moved; each from verdicts alone."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

from bench.judge.comparison import BASELINE, Verdict
from bench.judge.differences import unlike
from bench.judge.side_by_side import Contest, Entrant, Shift, SideBySide, Work
from bench.judge.summary import Row
from bench.report import cells
from bench.report import format as show
from bench.report.text import elide, plain
from bench.report.training.words import doubt
from bench.report.work import work

NAME_LENGTH = 60
LONGEST_VALUE = 10
VERBS: dict[Verdict, str] = {
    "faster": "pays on",
    "slower": "costs on",
    "same": "makes no difference on",
    "inconclusive": "is not settled on",
}
NOTHING_IN_COMMON = "nothing in common: no loop was measured in two of these runs; each is shown by itself"
ALONE = "one run alone: give a second one, or a folder with several, to compare it with"
ASK_FOR_A_VERDICT = (
    "No regression is claimed here: `loopmark check NEW --baseline OLD` gives a verdict on stored runs, "
    "`loopmark ab` a surer one, by turns."
)
LEGEND = (
    f"Speedups are over {BASELINE} in the same run, with 95 % intervals; {cells.SAME} is no claim. Of its ceiling: the "
    "least time that a step can take by what the same run measured of its device, over what it takes."
)


def headline(found: SideBySide) -> str:
    """What is beside what; or why nothing can be said together."""
    if len(found.entrants) == 1:
        return ALONE
    if not found.have_something_in_common:
        return NOTHING_IN_COMMON
    if found.is_course:
        return f"{found.entrants[0].run.machine.name}, before and after: {len(found.entrants)} runs, the oldest first"
    machines = len({entrant.run.machine.fingerprint for entrant in found.entrants})
    if machines < len(found.entrants):
        kinds = "device and threads" if machines == 1 else "machine, device and threads"
        return f"{len(found.entrants)} settings side by side, by {kinds}"
    return f"{machines} machines side by side"


def facts(found: SideBySide) -> dict[str, list[str]]:
    """What is not the same everywhere, with what each entrant says of it; by machines, the runs come first."""
    runs = [entrant.run for entrant in found.entrants]
    told = {name: [show.ABSENT if v is None else plain(v) for v in values] for name, values in unlike(runs).items()}
    named = {} if found.is_course else {"run": [plain(run.name) for run in runs]}
    return {**named, **{plain(name): values for name, values in told.items()}}


def shared(entrants: Sequence[Entrant], values: Sequence[str]) -> str:
    """``2.13.0 on a and b; 2.12.0 on c``: one fact, where there is no room for a table."""
    holders: dict[str, list[str]] = {}
    for entrant, value in zip(entrants, values, strict=True):
        holders.setdefault(elide(value, NAME_LENGTH), []).append(entrant.name)
    return "; ".join(f"{value} on {listed(names)}" for value, names in holders.items())


def works(contest: Contest) -> str:
    """What a step is: once where it is the same everywhere, else that it is not, and what it is where."""
    by_work: dict[str, list[str]] = {}
    for entrant in contest.entrants:
        text = "; ".join(work(one) for one in contest.works(entrant))
        if text:
            by_work.setdefault(text, []).append(entrant.name)
    if contest.is_same_work:
        return next(iter(by_work), "")
    told = "; ".join(f"{listed(names)}: {text}" for text, names in by_work.items())
    return f"not the same work, so only ratios to {BASELINE} compare: {told}"


def other_work(contest: Contest) -> str:
    """In what it is not the same, on a line: ``not the same work (batch size 64 or 256): only ratios to eager …``."""
    all_works = [one for entrant in contest.entrants for one in contest.works(entrant)]
    told = []
    for field in fields(Work):
        values = dict.fromkeys(str(getattr(one, field.name))[:LONGEST_VALUE] for one in all_works)
        if len(values) > 1:
            told.append(f"{field.name.replace('_', ' ')} {' or '.join(values)}")
    return plain(f"not the same work ({', '.join(told)}): only ratios to {BASELINE} compare")


def conclusions(found: SideBySide) -> Iterator[str]:
    """Which technique pays where, a sentence for each loop that has a verdict somewhere, by workload."""
    for contest in found.contests:
        for loop in contest.loops:
            clauses = list(_clauses(contest, loop))
            if clauses:
                end = "" if contest.is_same_work else " (not the same work)"
                who = f"{elide(contest.workload, NAME_LENGTH)}: {elide(loop, NAME_LENGTH)}"
                yield f"{who} {', '.join(clauses)}{end}."


def _clauses(contest: Contest, loop: str) -> Iterator[str]:
    rows = [(entrant, row) for entrant, row in contest.rows(loop) if row.verdict is not None]
    doubts = {id(row): _doubt(contest, entrant, row) for entrant, row in rows}
    for verdict, verb in VERBS.items():
        ours = [(entrant, row) for entrant, row in rows if row.verdict == verdict]
        sure = [pair for pair in ours if verdict != "faster" or not doubts[id(pair[1])]]
        if sure:
            yield f"{verb} {listed([_place(e, row, verdict) for e, row in sure])}"
        for entrant, row in ours:
            if (entrant, row) not in sure:
                yield f"is faster on {_place(entrant, row, verdict)}, but {doubts[id(row)]} there"


def _doubt(contest: Contest, entrant: Entrant, row: Row) -> str:
    base = entrant.row(contest.workload, BASELINE)
    return doubt(row.trained, base.trained if base else None)


def _place(entrant: Entrant, row: Row, verdict: str) -> str:
    return f"{entrant.name} ({show.ratio_range(row.speedup)})" if verdict in ("faster", "slower") else entrant.name


def noise(contest: Contest) -> str:
    """Each entrant's noise floor, on one line; empty where nobody measured one."""
    pairs = [(entrant, entrant.workload(contest.workload)) for entrant in contest.entrants]
    floors = [(entrant.name, found.noise_floor) for entrant, found in pairs if found and found.noise_floor is not None]
    if not floors:
        return ""
    told = ", ".join(f"{show.percent(floor)} on {name}" for name, floor in floors)
    return f"noise floor {told}: smaller differences are printed as {cells.SAME}"


def remarks(contest: Contest) -> Iterator[tuple[str, str]]:
    """What rows have to say beyond their figures, each with whose it is."""
    for loop in contest.loops:
        for entrant, row in contest.rows(loop):
            if row.step_seconds is not None and (text := cells.notes(row)):
                yield f"{elide(loop, NAME_LENGTH)} on {entrant.name}", text


def endings(contest: Contest) -> Iterator[tuple[str, str]]:
    """Why what has no figures has none, each with whose it is."""
    for loop in contest.loops:
        name = elide(loop, NAME_LENGTH)
        if why := nowhere(contest, loop):
            yield name, why
            continue
        for entrant, row in contest.rows(loop):
            if row.step_seconds is None:
                yield f"{name} on {entrant.name}", cells.why(row)


def nowhere(contest: Contest, loop: str) -> str:
    """Why a loop has no figures anywhere, where that is one and the same reason; empty otherwise."""
    reasons = {cells.why(row) if row.step_seconds is None else "" for _, row in contest.rows(loop)}
    return reasons.pop() if len(reasons) == 1 else ""


def moved(shift: Shift) -> str:
    """``1.21x [1.20, 1.22] → 1.11x [1.10, 1.12]: 0.92x [0.90, 0.94]``; of the baseline seconds."""
    text = show.seconds_range if shift.is_of_seconds else show.ratio_range
    before_after = f"{text(shift.before)} → {text(shift.after)}"
    return f"{before_after}: {show.ratio_range(shift.ratio)}"


def moves(found: SideBySide) -> Iterator[str]:
    """How each loop's speedup moved from the oldest to the newest run of one machine; what has no ratio, and why."""
    if not found.shifts and not found.not_compared:
        return
    first, last = found.entrants[0].name, found.entrants[-1].name
    if found.shifts:
        what = f"{BASELINE}'s step and speedups over it"
        yield f"{what} in {first} → in {last}, and how many times as fast the last is as the first:"
    for shift in found.shifts:
        yield f"  {elide(shift.workload, NAME_LENGTH)}: {elide(shift.loop, NAME_LENGTH)} {moved(shift)}"
    for reason in found.not_compared:
        yield f"no ratio: {elide(reason.replace('in the baseline', 'before').replace('in the run', 'now'), 300)}"


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
