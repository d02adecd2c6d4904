"""Each phase does its own work, and no other's."""

from collections.abc import Iterator, Sequence

from loopmark.bench.measure.properties.recorder import STOPS, What, listed, phase_name, places
from loopmark.bench.measure.properties.step_trace import Lap, Subject, Trace
from loopmark.bench.records.checks import Outcome, Property
from loopmark.phases import YIELDED

PROPERTY = Property(
    "work-in-its-phase",
    "The model is called in `forward`, the loss computed in `loss`, gradients in `backward`, the update made in "
    "`optimizer`, and gradients are cleared in `zero_grad`.",
)
HOMES: dict[What, tuple[str, str]] = {
    "zero_grad": ("zero_grad", "the gradients are cleared"),
    "model": ("forward", "the model is called"),
    "loss_fn": ("loss", "the loss is computed"),
    "backward": ("backward", "the backward pass runs"),
    "update": ("optimizer", "the optimizer steps"),
}


def check(subject: Subject) -> Outcome:
    """Whether each does."""
    return judge(subject.traces)


def judge(traces: Sequence[Trace]) -> Outcome:
    """Whether each does in ``traces``, as far as they go."""
    wrong = list(dict.fromkeys(sentence for trace in traces for sentence in _strays(trace)))
    if wrong:
        return PROPERTY.broken(
            f"computes in the wrong phase: {'; '.join(wrong[:4])}{' …' if len(wrong) > 4 else ''}; "
            "yield a phase's name right after its work, and before the next one's"
        )
    if traces[0].fault:
        return PROPERTY.not_applicable(STOPS)
    return PROPERTY.holds()


def _strays(trace: Trace) -> Iterator[str]:
    yield from _calls_elsewhere(trace)
    yield from _operations_elsewhere(trace)
    yield from _gradients_elsewhere(trace)


def _calls_elsewhere(trace: Trace) -> Iterator[str]:
    for what, (home, done) in HOMES.items():
        if home not in trace.phases and not trace.fault:
            continue  # phases-in-order says so
        strays: dict[str, list[str]] = {}
        for lap in trace.ended:
            for event in lap.events:
                if event.what == what and lap.phase != home:
                    strays.setdefault(lap.phase, []).append(event.place)
        for phase, found in strays.items():
            yield f"{done} in {phase_name(phase)}, not in `{home}` ({places(found)})"


def _operations_elsewhere(trace: Trace) -> Iterator[str]:
    """Phases in which the graph was made, for a loop that calls the model or computes the loss in a way of its own."""
    called = {event.what for lap in trace.laps for event in lap.events}
    if not trace.roots or "backward" not in {lap.phase for lap in trace.ended}:
        return
    made = set[str]()
    for number in (number for root in trace.roots for number in root.numbers):
        made.add(next((lap.phase for lap in trace.ended if number < lap.operations), ""))
    for what in ("model", "loss_fn"):
        home, done = HOMES[what]
        before = sorted(made - {"backward", "optimizer", ""} - ({"forward"} if what == "loss_fn" else set()))
        if what not in called and home not in made and home in trace.phases and made:
            yield f"{done} in {phase_name(before[-1] if before else _latest(made))}, not in `{home}`"


def _latest(made: set[str]) -> str:
    return max(made, key=(*YIELDED, "").index)


def _gradients_elsewhere(trace: Trace) -> Iterator[str]:
    before: frozenset[str] = frozenset()
    for lap in trace.ended:
        calls = {event.what for event in lap.events}
        gone, changed = before - lap.graded, lap.regraded & lap.graded
        before = lap.graded
        if gone and lap.phase != "zero_grad" and "zero_grad" not in calls:
            yield _where(f"the gradients of {listed(sorted(gone))} are cleared", lap, "zero_grad")
        if changed and lap.phase in ("zero_grad", "forward", "loss", "") and not calls & {"backward", "update"}:
            yield _where(f"the gradients of {listed(sorted(changed))} change", lap, "backward")


def _where(what: str, lap: Lap, home: str) -> str:
    at = f" (before the yield at {lap.place})" if lap.place else ""
    return f"{what} in {phase_name(lap.phase)}, not in `{home}`{at}"
